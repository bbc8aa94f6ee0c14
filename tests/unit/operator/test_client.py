import os
import re
import socket
import threading
from typing import Any

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.proxy.operator_door.unix_socket import bind_operator_socket, write_operator_token
from mycelos.wire.operator import RotateCredential
from mycelos.wire.problems import ProblemCode, Refusal


def answer_with(layout: DataLayout, data: bytes) -> tuple[threading.Thread, list[bytes]]:
    write_operator_token(layout)
    listener = bind_operator_socket(layout)
    asked: list[bytes] = []

    def whole_request(connection: socket.socket) -> bytes:
        # The head and the body come apart: an answer in between would break the client's second write off.
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def serve() -> None:
        with listener:
            listener.settimeout(20)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(20)
                asked.append(whole_request(accepted))
                accepted.sendall(data)
                accepted.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread, asked


def test_a_system_that_does_not_run_is_named_with_its_folder(layout: DataLayout) -> None:
    with pytest.raises(OperatorUnavailableError) as caught:
        OperatorClient(layout).status()
    assert str(layout.root) in caught.value.detail
    assert "mycelos serve" in caught.value.next_step
    write_operator_token(layout)
    for prepare in (lambda: None, lambda: bind_operator_socket(layout).close()):
        prepare()
        with pytest.raises(OperatorUnavailableError, match="is not running"):
            OperatorClient(layout).status()


def test_each_call_carries_the_token_of_this_start(layout: DataLayout) -> None:
    thread, asked = answer_with(layout, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    OperatorClient(layout).end_sessions()
    thread.join(20)
    assert f"Authorization: Bearer {layout.operator_token.read_text()}\r\n".encode() in asked[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{}",
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_with_a_next_step(layout: DataLayout, data: bytes) -> None:
    thread, _ = answer_with(layout, data)
    with pytest.raises(OperatorUnavailableError) as caught:
        OperatorClient(layout).status()
    thread.join(20)
    assert "mycelos" in caught.value.next_step


def test_a_problem_becomes_a_refusal_with_its_words(operator_system: Any) -> None:
    with pytest.raises(Refusal) as caught:
        operator_system.client.rotate(RotateCredential(service="github", secret="s3cret-7781"))
    assert caught.value.problem.code is ProblemCode.CREDENTIAL_UNKNOWN
    assert "mycelos credential list" in caught.value.problem.next
    assert "s3cret-7781" not in str(caught.value)


def test_what_may_not_be_opened_is_no_crash(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr("mycelos.operator.client.read_plain_file", refuse)
    with pytest.raises(OperatorUnavailableError, match="may not open"):
        OperatorClient(layout).status()


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"t" * 42 + b"\xff"),
        lambda path: path.write_bytes(b"t" * 43 + b"\r\nX: y"),
    ],
    ids=["FIFO", "folder", "device", "empty", "no text", "another header"],
)
def test_what_holds_no_token_is_named_and_neither_waited_for_nor_sent(layout: DataLayout, make: Any) -> None:
    layout.proxy.mkdir(mode=0o700, exist_ok=True)
    make(layout.operator_token)
    with pytest.raises(OperatorUnavailableError) as caught:
        OperatorClient(layout).status()
    assert str(layout.operator_token) in caught.value.detail
    assert f"rm {layout.operator_token}" in caught.value.next_step
