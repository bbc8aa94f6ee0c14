"""A model endpoint for tests of SDKs: both wire formats, streams that stop until the test lets them go on.

What it does is chosen by the words of the last message. It remembers whatever it was sent.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

from mycelos.demo import anthropic_format, openai_format

PATIENCE_SECONDS = 20.0
TOOL = "look_up"
ARGUMENTS = '{"place": "Ghent"}'


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names in lower case."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def text(self) -> str:
        head = "\n".join(f"{name}: {value}" for name, value in self.headers)
        return f"{self.line}\n{head}\n\n{self.body.decode()}"


@dataclass
class ModelUpstream:
    """``go_on`` is what a stream waits for after its first event; ``gave_up`` says that nobody let it."""

    authority: str
    key: str
    patience: float = PATIENCE_SECONDS
    received: list[Received] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    gave_up: bool = False

    def wait(self) -> None:
        """Nothing more is sent before the test has seen what was."""
        if not self.go_on.wait(self.patience):
            self.gave_up = True
        self.go_on.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: ModelUpstream

    def do_POST(self) -> None:
        body = self._read()
        self.upstream.received.append(
            Received(self.requestline, tuple((name.lower(), value) for name, value in self.headers.items()), body)
        )
        if not self.path.startswith("/v1/"):
            self._answer(404, {"error": {"message": "no such path"}})
            return
        asked = json.loads(body)
        form: ModuleType = anthropic_format if self.path.endswith("/messages") else openai_format
        words = str(asked["messages"][-1]["content"])
        if words.startswith("fail"):
            # Services quote the key that they do not like.
            message = f"the key {self.upstream.key} was not liked"
            self._answer(int(words.split()[1]), {"error": {"message": message, "type": "scripted"}})
        elif asked.get("stream"):
            self._stream(words, form)
        elif "tool" in words:
            self._answer(200, form.tool_body(TOOL, ARGUMENTS))
        else:
            self._answer(200, form.text_body(self._text(words)))

    def _text(self, words: str) -> str:
        key = self.upstream.key
        if "echo" not in words:
            return "It rains."
        return f"{key} {base64.b64encode(key.encode()).decode()} {key.encode().hex()}"

    def _stream(self, words: str, form: ModuleType) -> None:
        self._head(200, "text/event-stream")
        # Anthropic's stream begins with events that carry nothing yet: the first that does is the one to stop after.
        if "tool" in words:
            events = [*form.tool_events(TOOL, ARGUMENTS), *form.end_events(wishes_for_tool=True)]
            self._pieces(events, 1 + next(at for at, event in enumerate(events) if TOOL.encode() in event))
        elif "spell" in words:
            self.upstream.go_on.set()
            self._pieces([*form.text_events(self.upstream.key), *form.end_events(wishes_for_tool=False)], 1)
        elif "echo" in words:
            key = self.upstream.key.encode()
            whole = b"".join(form.text_events(["It ", f"is {key.decode()}, ", "I think."]))
            end = b"".join(form.end_events(wishes_for_tool=False))
            # Cut in the middle of the key: the first half is out before the second is written.
            middle = whole.index(key) + len(key) // 2
            self._pieces([whole[:middle], whole[middle:] + end], 1)
        else:
            events = [*form.text_events(["It ", "rains."]), *form.end_events(wishes_for_tool=False)]
            self._pieces(events, 1 + next(at for at, event in enumerate(events) if b"It " in event))

    def _pieces(self, pieces: list[bytes], first: int) -> None:
        for number, piece in enumerate(pieces):
            if number == first:
                self.upstream.wait()
            self._chunk(piece)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        self._head(status, "application/json")
        self._chunk(json.dumps(document).encode())
        self._chunk(b"")

    def _head(self, status: int, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Echo", self.upstream.key)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """What is remembered is looked at by the test."""


@contextmanager
def model_upstream(key: str, *, tls: Callable[[], ssl.SSLContext] | None = None) -> Iterator[ModelUpstream]:
    """Serves on 127.0.0.1."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    upstream = ModelUpstream(f"127.0.0.1:{server.server_address[1]}", key)
    handler.upstream = upstream  # type: ignore[attr-defined]  # a class of its own for each server
    if tls is not None:
        server.socket = tls().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        upstream.go_on.set()
        server.shutdown()
        thread.join(PATIENCE_SECONDS)
        server.server_close()
