from __future__ import annotations

import json

import pytest
from scripted_gateway import problem, stream

from mycelos.cli import chat
from mycelos.cli.gateway_client import connect
from mycelos.cli.output import CommandError

RUN = "run_01h2xcejqtf2nbrexx3vqjhp41"
CHAT = "chat_01h2xcejqtf2nbrexx3vqjhp41"
EVENTS = f"GET /api/runs/{RUN}/events"
SAY = f"POST /api/chats/{CHAT}/messages"
AT = "2026-01-01T00:00:00.000000Z"
OPENED = {"id": CHAT, "title": "", "agent": "gardener", "created_at": AT, "updated_at": AT}
MODEL = {
    "name": "big",
    "format": "openai",
    "base_url": "https://api.example/v1",
    "model": "m",
    "credential": None,
    "created_at": AT,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(chat, "_RECONNECT_PAUSE", 0.01)


@pytest.fixture
def talking(gateway):
    gateway.answers["POST /api/chats"] = (201, OPENED)
    gateway.answers[SAY] = (202, {"run_id": RUN})
    gateway.answers[EVENTS] = (200, stream(("token", {"text": "Hello."}), ("done", {"text": "Hello."})))
    return gateway


def test_one_question_gets_one_answer(mycelos, talking) -> None:
    assert mycelos("chat", "--agent", "gardener", "--once", "hi") == (0, "Hello.\n", "")
    assert talking.asked[0] == ("POST /api/chats", {"agent": "gardener"})
    assert talking.asked[1] == (SAY, {"text": "hi"})


def test_a_model_is_named_with_each_message(mycelos, talking) -> None:
    talking.answers["GET /api/models"] = (200, [MODEL])
    assert mycelos("chat", "--once", "hi", "--model", "big")[0] == 0
    assert (SAY, {"text": "hi", "model": "big"}) in talking.asked
    code, _, err = mycelos("chat", "--once", "hi", "--model", "small")
    assert code == 2
    assert "mycelos model list" in err


def test_an_answer_that_failed_is_exit_code_one(mycelos, talking) -> None:
    talking.answers[EVENTS] = (200, stream(("error", {"code": "model_unavailable", "detail": "No.", "next": "Wait."})))
    code, out, _ = mycelos("chat", "--once", "hi")
    assert (code, out) == (1, "  [ended (model_unavailable): No. Wait.]\n")


def test_as_json_all_events_are_printed(mycelos, talking) -> None:
    printed = json.loads(mycelos("chat", "--once", "hi", "--json")[1])
    assert printed == {
        "run_id": RUN,
        "events": [{"event": "token", "text": "Hello."}, {"event": "done", "text": "Hello."}],
    }


def test_json_without_once_is_wrong_usage(mycelos, talking) -> None:
    assert mycelos("chat", "--json")[0] == 2


def test_a_stream_that_breaks_is_taken_up_after_its_last_event(mycelos, talking) -> None:
    talking.answers[EVENTS] = [
        (200, stream(("token", {"text": "He"}))),
        (200, stream(("token", {"text": "llo."}), ("done", {"text": "Hello."}), first=2)),
    ]
    assert mycelos("chat", "--once", "hi")[:2] == (0, "Hello.\n")
    asked = [headers["Last-Event-ID"] for headers in talking.headers if "Last-Event-ID" in headers]
    assert asked == ["0", "1"]


def test_a_gateway_that_does_not_come_back_is_given_up(talking, monkeypatch) -> None:
    monkeypatch.setattr(chat, "RECONNECT_SECONDS", 0.05)
    talking.answers[EVENTS] = (200, b": follow\n\n")
    with pytest.raises(CommandError, match="went away"):
        list(chat.follow(connect(), RUN))


def test_a_stream_that_cannot_be_read_is_an_error(mycelos, talking) -> None:
    talking.answers[EVENTS] = (200, b"id: 1\nevent: token\ndata: [\n\n")
    code, _, err = mycelos("chat", "--once", "hi")
    assert code == 1
    assert "cannot be followed" in err


def test_a_conversation_goes_on_until_the_input_ends_also_after_an_error(mycelos, talking, monkeypatch) -> None:
    lines = iter(["first", "", "second"])

    def read(_prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    talking.answers[SAY] = [(429, problem("rate_limited", "Too many.", "Wait.", 429)), (202, {"run_id": RUN})]
    code, out, err = mycelos("chat")
    assert code == 0
    assert "Too many. Wait." in err
    assert "Hello." in out
    assert [body for request, body in talking.asked if request == SAY] == [{"text": "first"}, {"text": "second"}]


def test_an_interrupt_cancels_the_run(mycelos, talking, monkeypatch) -> None:
    def interrupted(_client, _run):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(chat, "follow", interrupted)
    talking.answers[f"POST /api/runs/{RUN}/cancel"] = (200, {"cancelled": True})
    assert mycelos("chat", "--once", "hi")[:2] == (1, "  [cancelled]\n")
    assert talking.asked[-1] == (f"POST /api/runs/{RUN}/cancel", None)
