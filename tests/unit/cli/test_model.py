from __future__ import annotations

import json

MODEL = {
    "name": "big",
    "format": "openai",
    "base_url": "https://api.example/v1",
    "model": "m-1",
    "credential": None,
}
STORED = MODEL | {"created_at": "2026-01-01T00:00:00.000000Z"}


def test_an_endpoint_is_added_and_the_rule_that_it_needs_is_named(mycelos, gateway) -> None:
    gateway.answers["POST /api/models"] = (201, STORED)
    code, out, _ = mycelos("model", "add", "big", "--url", "https://api.example/v1", "--model", "m-1")
    assert code == 0
    assert gateway.asked == [("POST /api/models", MODEL)]
    assert "mycelos egress allow https://api.example/v1 --method POST" in out


def test_an_endpoint_with_a_credential_needs_no_rule(mycelos, gateway) -> None:
    gateway.answers["POST /api/models"] = (201, STORED | {"credential": "openai"})
    words = ("model", "add", "big", "--url", "https://api.example/v1", "--model", "m-1", "--credential", "openai")
    assert "egress allow" not in mycelos(*words)[1]


def test_an_unknown_format_is_wrong_usage(mycelos, gateway) -> None:
    code, _, err = mycelos("model", "add", "big", "--url", "https://x", "--model", "m", "--format", "telepathy")
    assert code == 2
    assert "anthropic" in err
    assert gateway.asked == []


def test_endpoints_are_listed(mycelos, gateway) -> None:
    gateway.answers["GET /api/models"] = (200, [STORED])
    assert mycelos("model", "list")[1].splitlines()[1].split() == [
        "big",
        "openai",
        "m-1",
        "https://api.example/v1",
        "-",
    ]
    assert json.loads(mycelos("model", "list", "--json")[1]) == [STORED]


def test_a_test_shows_the_answer_harmlessly(mycelos, gateway) -> None:
    gateway.answers["POST /api/models/big/test"] = (200, {"answer": "hello\x1b]0;x\x07"})
    assert mycelos("model", "test", "big")[:2] == (0, "big answers: hello\\u001b]0;x\\u0007\n")


def test_an_endpoint_is_removed(mycelos, gateway) -> None:
    gateway.answers["DELETE /api/models/big"] = (204, None)
    assert mycelos("model", "remove", "big")[:2] == (0, "removed big\n")
