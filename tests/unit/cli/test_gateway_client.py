from __future__ import annotations

import dataclasses
import os
import socket
import threading

import msgspec
import pytest
from scripted_gateway import TOKEN, problem, running_state, stream

from mycelos.cli.gateway_client import BrokenOffError, client_of, connect
from mycelos.cli.gateway_client import running_state as state_of
from mycelos.cli.output import CommandError, ExitCode
from mycelos.supervisor.state import write_state


def test_a_call_carries_the_token_and_gives_the_answer(gateway) -> None:
    gateway.answers["GET /api/agents"] = (200, [{"name": "a"}])
    assert connect().get("api", "agents", answer=list[dict]) == [{"name": "a"}]
    assert gateway.headers[0]["Authorization"] == f"Bearer {TOKEN}"


def test_a_body_goes_as_json(gateway) -> None:
    gateway.answers["POST /api/things"] = (200, {"b": 2})
    assert connect().post("api", "things", answer=dict[str, int], body={"a": 1}) == {"b": 2}
    assert gateway.asked == [("POST /api/things", {"a": 1})]


def test_a_name_cannot_leave_its_segment(gateway) -> None:
    with pytest.raises(CommandError):
        connect().get("api", "agents", "../chats?x=1", answer=dict)
    assert gateway.asked == [("GET /api/agents/..%2Fchats%3Fx%3D1", None)]


def test_a_refusal_keeps_its_words_and_its_exit_code(gateway) -> None:
    gateway.answers["DELETE /api/agents/a"] = (403, problem("policy_denied", "Not this one.", "Ask.", 403))
    with pytest.raises(CommandError, match=r"^Not this one\. Ask\.$") as caught:
        connect().delete("api", "agents", "a")
    assert caught.value.exit_code is ExitCode.DENIED


def test_an_error_that_is_no_problem_document_is_told_by_its_status(gateway) -> None:
    gateway.answers["GET /api/agents"] = (502, b"<h1>no</h1>")
    with pytest.raises(CommandError, match="status 502"):
        connect().get("api", "agents", answer=list[dict])


def test_events_are_asked_for_after_the_last_one(gateway) -> None:
    gateway.answers["GET /api/runs/run_1/events"] = (200, stream(("token", {"text": "x"}), first=8))
    assert [event.sequence for event in connect().events("run_1", 7)] == [8]
    assert gateway.headers[0]["Last-Event-ID"] == "7"


def test_a_refused_stream_is_an_error(gateway) -> None:
    with pytest.raises(CommandError, match="There is no such thing"):
        list(connect().events("run_2", 0))


def test_nobody_there_is_an_error_for_a_call_and_a_break_for_a_stream(gateway, layout, free_port) -> None:
    client = dataclasses.replace(connect(), port=free_port())
    with pytest.raises(CommandError, match="does not answer"):
        client.get("api", "agents", answer=list[dict])
    with pytest.raises(BrokenOffError):
        list(client.events("run_1", 0))
    assert not client.is_healthy()


def test_a_peer_that_says_nothing_is_given_up(gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = dataclasses.replace(connect(), port=silent.getsockname()[1], timeout=0.2)
        with pytest.raises(CommandError, match="TimeoutError"):
            client.get("api", "agents", answer=list[dict])


def test_health_is_an_answer_of_the_page(gateway) -> None:
    assert not connect().is_healthy()
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    assert connect().is_healthy()


def test_without_a_running_system_the_way_to_one_is_named(layout, monkeypatch) -> None:
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))
    with pytest.raises(CommandError, match="mycelos serve"):
        connect()


def test_a_missing_token_means_that_nothing_runs(gateway, layout) -> None:
    layout.command_line_token.unlink()
    with pytest.raises(CommandError, match="not running"):
        connect().get("api", "agents", answer=list[dict])


def test_a_state_of_another_form_is_an_error_with_its_place(gateway, layout) -> None:
    layout.supervisor_state.write_text("{}")
    with pytest.raises(CommandError, match="supervisor.json"):
        state_of(layout)


@pytest.mark.parametrize(
    ("bind", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")],
)
def test_it_connects_where_the_page_is_bound(layout, bind: str, host: str) -> None:
    state = msgspec.structs.replace(running_state(9100), bind=bind)
    assert client_of(layout, state).host == host


def test_the_state_of_a_running_system_is_found(gateway, layout) -> None:
    write_state(layout, running_state(gateway.port))
    found = state_of(layout)
    assert found is not None
    assert found.port == gateway.port


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 43, b"t" * 42, b"t" * 44, b"t" * 43 + b"\r\nX: y", b"t" * 20 + b"\r\n" + b"t" * 21, b"t" * 10**6,
     "т".encode() * 43, b"\x1b]52;c;eA==\x07".ljust(43, b"t"), b"t" * 42 + b"\n"],
)  # fmt: skip
def test_what_is_no_token_is_one_line_and_is_not_sent(mycelos, gateway, layout, content: bytes) -> None:
    layout.command_line_token.write_bytes(content)
    for words in (("agent", "list"), ("open",), ("chat", "--once", "hi"), ("model", "list")):
        code, out, err = mycelos(*words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "command-line.token does not hold" in err
    assert gateway.asked == []


def test_a_fifo_in_the_place_of_the_state_is_one_line_and_not_waited_for(mycelos, layout) -> None:
    layout.run.mkdir(exist_ok=True)
    layout.supervisor_state.unlink(missing_ok=True)
    os.mkfifo(layout.supervisor_state)
    for words in (("status",), ("stop",), ("open",)):
        code, out, err = mycelos(*words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"{layout.supervisor_state} is not what this version writes. Stop Mycelos and remove" in err


def test_a_fifo_in_the_place_of_the_token_is_one_line_and_not_waited_for(mycelos, gateway, layout) -> None:
    layout.command_line_token.unlink()
    os.mkfifo(layout.command_line_token, 0o600)
    code, _, err = mycelos("agent", "list")
    assert (code, "does not hold" in err) == (1, True)


@pytest.mark.parametrize("make", ["mkdir", "symlink_to"])
def test_a_token_that_is_no_plain_file_is_one_line(mycelos, gateway, layout, tmp_path, make: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 43)
    layout.command_line_token.unlink()
    getattr(layout.command_line_token, make)(*([secret] if make == "symlink_to" else []))
    code, _, err = mycelos("agent", "list")
    assert (code, "does not hold" in err) == (1, True)
    assert gateway.asked == []


def test_a_gateway_that_is_down_is_said_at_once_and_nobody_waits_for_it(mycelos, gateway, layout) -> None:
    state = running_state(gateway.port)
    children = tuple(
        msgspec.structs.replace(child, pid=None, ready=False) if child.name == "gateway" else child
        for child in state.children
    )
    write_state(layout, msgspec.structs.replace(state, children=children))
    code, _, err = mycelos("agent", "list")
    assert (code, "serve.log" in err) == (1, True)
    code, out, _ = mycelos("status")
    assert (code, "down" in out, "does not answer" in out) == (1, True, True)
    assert gateway.asked == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\x00", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 \x1b[2J\r\nContent-Length: x\r\n\r\n{}",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500],
)  # fmt: skip
def test_what_is_no_http_is_one_line(mycelos, gateway, layout, raw: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        write_state(layout, running_state(listener.getsockname()[1]))

        def answer() -> None:
            with listener.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(raw)

        thread = threading.Thread(target=answer)
        thread.start()
        code, out, err = mycelos("agent", "list")
        thread.join(20)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err[:-1].isprintable()
