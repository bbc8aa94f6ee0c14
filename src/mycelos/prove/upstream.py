"""A stand-in for the outside on loopback: it answers with what it was sent, and remembers it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


COOKIE: Final = "session=of-the-account-behind-the-credential"
"""What each answer sets: a session of whoever the credential belongs to."""

SPELLINGS_ALONE: Final = "/spellings"
"""How a path ends that is answered with the spellings and nothing else in the body."""


class Upstream:
    """Serves on loopback while it is entered. ``requests`` holds each request's text; ``spellings`` follow each answer.

    ``on_request`` is called before a request is answered: what it sees was so before the effect ended. A path that
    ends with ``/redirect`` is answered with a redirect to ``redirect_to``. Connections end with their first answer,
    unless it ``keeps_alive``.
    """

    def __init__(
        self,
        on_request: Callable[[], None] = lambda: None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        redirect_to: str = "",
        keeps_alive: bool = False,
    ) -> None:
        self.requests: list[str] = []
        self.spellings = b""
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if keeps_alive else "HTTP/1.0"

            def handle_any(self) -> None:
                """Remember the request and send it back."""
                length = int(self.headers.get("Content-Length") or 0)
                text = f"{self.requestline}\n{self.headers}\n{self.rfile.read(length).decode('utf-8', 'replace')}"
                upstream.requests.append(text)
                on_request()
                answer = json.dumps({"you_sent": text}).encode() + upstream.spellings
                if self.path.endswith(SPELLINGS_ALONE):
                    answer = upstream.spellings
                is_redirect = self.path.endswith("/redirect")
                self.send_response(302 if is_redirect else 200)
                if is_redirect:
                    self.send_header("Location", redirect_to)
                self.send_header("Set-Cookie", COOKIE)
                # On one line: a header's value is given back as well.
                self.send_header("X-You-Sent", " ".join(text.split()))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = handle_any  # noqa: N815 - the names that the base class calls

            def log_message(self, *_arguments: Any) -> None:
                """Silent: what is remembered is looked at by the probe."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def authority(self) -> str:
        """Host and port, as a URL has them."""
        return f"{self._server.server_address[0]!s}:{self.port}"

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
