"""An outside that gives back what it was sent, in every spelling of every canary, or fails with it in its hands.

`/v1/chat/completions` is a model that reads issues when it is asked to; below `/NAME/` it fails in the way of that name
(see `mycelos.prove.failing_upstream`). Everything else is an issue tracker.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mycelos.demo import openai_format
from mycelos.demo.conversation import read_openai
from mycelos.prove.failing_upstream import FAILURES, Ending
from mycelos.wire.secret_forms import secret_forms

PATIENCE_SECONDS = 60.0
_BY_NAME = {failure.name: failure for failure in FAILURES}


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    head: bytes
    body: bytes


@dataclass
class EchoingOutside:
    """``secrets`` may grow: what is in it is given back in each spelling."""

    listener: socket.socket
    secrets: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    greeted_by_tls: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def spellings(self) -> list[bytes]:
        return [form for secret in self.secrets for form in secret_forms(secret.encode())]

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        with connection:
            try:
                head, body = _read(connection)
                if head.startswith(b"\x16"):
                    self.greeted_by_tls += 1
                    connection.sendall(b"\n".join(self.spellings))
                elif head:
                    self.received.append(Received(head, body))
                    self._speak(connection, head, body)
            except OSError:
                return

    def _speak(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        path = head.split(b" ")[1].decode()
        failure = _BY_NAME.get(path.split("/")[1])
        if failure is not None:
            connection.sendall(failure.answer(head.replace(b"\r\n", b" ").strip(), b"\n".join(self.spellings)))
            if failure.ending is Ending.HOLD:
                connection.recv(1)
            elif failure.ending is Ending.RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        echo = [head.decode("latin-1"), *(form.decode("latin-1") for form in self.spellings)]
        if path.endswith("/chat/completions"):
            self._stream(connection, json.loads(body), echo)
            return
        # The service sees the name first: a title is shown, and a label of the repository is a header's value.
        issue = {
            "number": 1,
            "title": " ".join(echo),
            "state": "open",
            "user": {"login": "ada"},
            "body": "\n".join(echo),
        }
        issues = [issue, *({**issue, "body": line, "title": line} for line in echo)]
        answer = json.dumps(issues, ensure_ascii=False).encode()
        named = b"x-echo: " + head.replace(b"\r\n", b" ").strip() + b"\r\n"
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + named
            + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(answer) + answer
        )  # fmt: skip

    def _stream(self, connection: socket.socket, asked: dict[str, object], echo: list[str]) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        conversation = read_openai(asked)
        wants = "issues" in conversation.person and not conversation.results
        if wants:
            name = conversation.provider_name("github.read.issues")
            events = list(openai_format.tool_events(name, json.dumps({"repository": "mycelos/garden", "limit": 50})))
        else:
            # What a tool gave back is given back once more, and learnt by heart by the chat.
            events = list(openai_format.text_events([*echo, *conversation.results]))
        whole = b"".join(events)
        # Pieces that end anywhere, also within a canary.
        for start in range(0, len(whole), 1000):
            connection.sendall(whole[start : start + 1000])
        if "hang" in conversation.person:
            connection.recv(1)
            return
        connection.sendall(b"".join(openai_format.end_events(wishes_for_tool=wants)))


def _read(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and not data.startswith(b"\x16"):
        piece = connection.recv(65536)
        if not piece:
            return data, b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if lines.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        return head, _unchunk(body)
    while len(body) < int(lines.get(b"content-length", 0)):
        body += connection.recv(65536)
    return head, body


def _unchunk(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        whole += rest[:length]
        data = rest[length + 2 :]
    return whole


@contextmanager
def echoing_outside() -> Iterator[EchoingOutside]:
    """Serves on 127.0.0.1 while the block lasts."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(0.05)
        outside = EchoingOutside(listener)
        thread = threading.Thread(target=outside.serve, daemon=True)
        thread.start()
        try:
            yield outside
        finally:
            outside.over.set()
            thread.join(PATIENCE_SECONDS)
