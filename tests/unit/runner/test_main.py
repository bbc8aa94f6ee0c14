"""A runner as a process: descriptor 3 in, exit code out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from mycelos.runner.main import ExitCode
from mycelos.wire.conversation import AssistantMessage, UserMessage
from mycelos.wire.frames import FrameDecoder, encode_frame
from mycelos.wire.runner import Done, Emit, FromRunner, Hello, Limits, ModelRequest, ModelResponse, ToRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = Hello(
    protocol=1,
    profile="agent",
    instructions="",
    messages=(UserMessage("hi"),),
    tools=(),
    limits=Limits(model_requests=2, tool_calls=2, answer_characters=100),
)
TRAMPOLINE = (
    "import os,sys; os.dup2(int(sys.argv[1]), 3, inheritable=True);"
    "os.execv(sys.executable, [sys.executable, '-I', '-m', 'mycelos.runner'])"
)


class Gateway:
    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process = process
        self._frames = FrameDecoder()
        self._waiting: list[bytes] = []

    def send(self, message: ToRunner) -> None:
        self.connection.sendall(encode_frame(msgspec.json.encode(message)))

    def receive(self) -> FromRunner:
        while not self._waiting:
            data = self.connection.recv(65536)
            assert data, "the runner closed its socket"
            self._waiting = self._frames.feed(data)
        message: FromRunner = msgspec.json.decode(self._waiting.pop(0), type=FromRunner)
        return message


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    number = os.dup(theirs.fileno())
    os.set_inheritable(number, True)
    process = subprocess.Popen([sys.executable, "-c", TRAMPOLINE, str(number)], pass_fds=(number,))
    os.close(number)
    theirs.close()
    with ours:
        yield Gateway(ours, process)
    process.kill()
    process.wait(20)


def test_a_run_goes_from_hello_to_done(gateway: Gateway) -> None:
    gateway.send(HELLO)
    question = gateway.receive()
    assert isinstance(question, ModelRequest)
    gateway.send(ModelResponse(id=question.id, message=AssistantMessage("hello"), code="", detail=""))
    assert gateway.receive() == Emit("hello")
    assert gateway.receive() == Done(ok=True, code="answered", text="hello")
    assert gateway.process.wait(20) == ExitCode.FINISHED


def test_a_gateway_that_does_not_begin_with_hello_is_left(gateway: Gateway) -> None:
    gateway.send(ModelResponse(id="m1", message=None, code="x", detail=""))
    assert gateway.process.wait(20) == ExitCode.BROKEN_CHANNEL


def test_an_unknown_protocol_version_is_left(gateway: Gateway) -> None:
    gateway.connection.sendall(encode_frame(msgspec.json.encode(HELLO).replace(b'"protocol":1', b'"protocol":2')))
    assert gateway.process.wait(20) == ExitCode.BROKEN_CHANNEL


def test_a_gateway_that_goes_away_ends_the_runner(gateway: Gateway) -> None:
    gateway.connection.close()
    assert gateway.process.wait(20) == ExitCode.GATEWAY_GONE
