"""A stand-in for the outside on loopback: it answers with what it was sent, and remembers it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Upstream:
    """Serves on 127.0.0.1 while it is entered. ``requests`` holds each request's text, headers included.

    ``on_request`` is called before a request is answered: what it sees was so before the effect ended.
    """

    def __init__(self, on_request: Callable[[], None] = lambda: None) -> None:
        self.requests: list[str] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                """Remember the request and send it back."""
                length = int(self.headers.get("Content-Length") or 0)
                text = f"{self.requestline}\n{self.headers}\n{self.rfile.read(length).decode('utf-8', 'replace')}"
                upstream.requests.append(text)
                on_request()
                answer = json.dumps({"you_sent": text}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = handle_any  # noqa: N815 - the names that the base class calls

            def log_message(self, *_arguments: Any) -> None:
                """Silent: what is remembered is looked at by the probe."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and wait for it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
