"""A gateway that was taken over answers whatever it likes: every command ends with one line and an exit code."""

from __future__ import annotations

import json

import pytest

from mycelos.cli.gateway_answers import Agent, AnswerError, Link, Model, decode_answer, decode_object

AT = "2026-01-01T00:00:00.000000Z"
AGENT = {"name": "gardener", "instructions": "", "capabilities": ["a.b"], "model": None, "created_at": AT}
MODEL = {
    "name": "big", "format": "openai", "base_url": "https://api.example/v1", "model": "m", "credential": None,
    "created_at": AT,
}  # fmt: skip
CODE = "c" * 43

HOSTILE = {
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "a text": b'"x"',
    "a list": b"[]",
    "a list of lists": b"[[]]",
    "an object": b"{}",
    "no JSON": b"<h1>no</h1>",
    "no UTF-8": b'{"name":"\xff"}',
    "half a pair": b'{"name":"\\ud800"}',
    "depth": b"[" * 200_000,
    "depth in objects": b'{"a":' * 200_000,
    "a list of depth": b'[{"name":' + b"[" * 200_000,
    "a number without end": b'{"name":' + b"1" * 5000 + b"}",
}

COMMANDS = [
    ("agent", "show", "gardener"),
    ("agent", "show", "gardener", "--json"),
    ("agent", "add", "gardener"),
    ("agent", "edit", "gardener", "--model", "m"),
    ("model", "add", "big", "--url", "https://x", "--model", "m"),
    ("model", "test", "big"),
    ("policy", "check", "gardener", "github.read.issues"),
    ("chat", "--once", "hi"),
    ("open", "--print"),
    ("open", "--json"),
]
LISTS = [("agent", "list"), ("agent", "list", "--json"), ("model", "list"), ("chat", "--once", "hi", "--model", "big")]
ROUTES = (
    "GET /api/agents", "POST /api/agents", "GET /api/agents/gardener", "PATCH /api/agents/gardener", "GET /api/models",
    "POST /api/models", "POST /api/models/big/test", "POST /api/chats", "POST /api/auth/link",
)  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_of_another_shape_is_one_line_for_every_command(mycelos, gateway, content, status) -> None:
    for route in ROUTES:
        gateway.answers[route] = (status, content)
    for words in COMMANDS + (LISTS if content != b"[]" or status != 200 else []):
        code, out, err = mycelos(*words)
        assert (code, out, err.count("\n")) == (1, "", 1), words
        assert err.startswith("mycelos: The gateway"), words


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a\nb"}, {"name": "a\x1b]52;c;eA==\x07"}, {"name": "b\n"}, {"name": "A"}, {"name": ""},
        {"capabilities": ["a.b\u202e"]}, {"capabilities": "a.b"}, {"capabilities": [1]}, {"model": "$(id)"},
        {"instructions": None}, {"created_at": "now"}, {"created_at": AT + "\n"}, {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_agent_is_refused(change) -> None:
    with pytest.raises(AnswerError):
        decode_answer(json.dumps(AGENT | change).encode(), Agent)
    assert decode_answer(json.dumps(AGENT).encode(), Agent).name == "gardener"


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "javascript:alert(1)"}, {"base_url": "https://x/\x9b"}, {"base_url": "https://x y"},
        {"model": "m m"}, {"model": "\x1b"}, {"format": "x"}, {"credential": "../x"}, {"credential": 7},
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(change) -> None:
    with pytest.raises(AnswerError):
        decode_answer(json.dumps(MODEL | change).encode(), Model)
    assert decode_answer(json.dumps(MODEL).encode(), Model).name == "big"


@pytest.mark.parametrize(
    "code",
    ["", CODE[:-1], CODE + "c", CODE + "\n", CODE[:-1] + "=", CODE[:-1] + "é", CODE[:-1] + "\x1b", CODE[:-1] + "&"],
)
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(AnswerError):
        decode_answer(json.dumps({"code": code, "expires_at": AT}).encode(), Link)


def test_an_object_is_as_deep_as_everybody_can_walk() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    json.dumps(decode_object(nested(60)), indent=2)
    for levels in (70, 900):
        with pytest.raises(AnswerError):
            decode_object(nested(levels))
