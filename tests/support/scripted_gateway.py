"""A stand-in for the gateway's API on loopback: answers what a test lays down, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.state import ChildState, SupervisorState, boot_id, start_ticks, write_state

TOKEN = "command-line-token-of-the-test".ljust(43, "-")


@dataclass
class ScriptedGateway:
    """``answers`` maps ``METHOD path`` to (status, JSON or raw bytes); a list of these is used up one by one."""

    port: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def answer(self, request: str) -> tuple[int, Any]:
        found = self.answers.get(request, (404, problem("not_found", "There is no such thing.", "Look elsewhere.")))
        return found.pop(0) if isinstance(found, list) else found


def problem(code: str, detail: str, next_step: str, status: int = 404) -> dict[str, Any]:
    """A problem document."""
    kind = f"urn:mycelos:problem:{code}"
    return {"type": kind, "title": "No", "status": status, "detail": detail, "code": code, "next": next_step}


def stream(*events: tuple[str, dict[str, Any]], first: int = 1) -> bytes:
    """Server-sent events as the gateway writes them."""
    lines = [
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        for number, (kind, data) in enumerate(events, start=first)
    ]
    return (": follow\n\n" + "".join(lines)).encode()


@contextlib.contextmanager
def scripted_gateway(layout: DataLayout) -> Iterator[ScriptedGateway]:
    """The stand-in, with token and supervisor's state in ``layout`` as a running system leaves them."""
    gateway = ScriptedGateway()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            request = f"{self.command} {self.path}"
            gateway.asked.append((request, body))
            gateway.headers.append(dict(self.headers))
            status, content = gateway.answer(request)
            data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    gateway.port = server.server_port
    layout.run.mkdir(exist_ok=True)
    layout.gateway.mkdir(parents=True, exist_ok=True)
    layout.command_line_token.write_text(TOKEN)
    write_state(layout, running_state(gateway.port))
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def running_state(port: int) -> SupervisorState:
    """The state of a supervisor that is this very process."""
    return SupervisorState(
        v=1,
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()) or 0,
        boot_id=boot_id(),
        started_at="2026-01-01T00:00:00.000Z",
        bind="127.0.0.1",
        port=port,
        operator_port=9101,
        page_url=f"http://localhost:{port}",
        operator_url="http://localhost:9101",
        children=(
            ChildState("proxy", os.getpid(), ready=True, restarts=2),
            ChildState("gateway", os.getpid(), ready=True, restarts=0),
        ),
    )
