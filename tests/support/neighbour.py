"""A hostile page on another port of this machine: it plants cookies, and remembers the requests that it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAIT = 30.0


class Neighbour:
    """What the hostile page answers with, and what it has seen: one text of all request lines and headers."""

    def __init__(self) -> None:
        self.plants: list[str] = []
        self.requests: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def seen(self) -> str:
        return "\n".join(self.requests)


@contextlib.contextmanager
def neighbour() -> Iterator[Neighbour]:
    """The page while the block lasts."""
    state = Neighbour()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(f"{self.requestline}\n{self.headers}")
            self.send_response(200)
            for cookie in state.plants:
                self.send_header("Set-Cookie", cookie)
            body = b"<!doctype html><title>neighbour</title>"
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing is written to the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(WAIT)
