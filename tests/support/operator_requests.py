"""Requests to an operator's door of a test: by hand over its socket, and with its own client."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any

import pytest

from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import Refusal

SECRET = "canary-41c7e0d2"


def ask(
    system: Any, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection("operator", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(system.layout.operator_socket))
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Connection": "close"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        # A body that is too long is refused while it is being sent.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method, path, data, sent)
        answer = connection.getresponse()
        content = answer.read()
    return answer.status, json.loads(content), {name.lower(): value for name, value in answer.getheaders()}


def bearer(system: Any) -> str:
    return f"Bearer {system.layout.operator_token.read_text()}"


def store(system: Any, service: str = "github", **changes: Any) -> Any:
    message = {"service": service, "secret": SECRET, "template": "github", **changes}
    return system.client.store(StoreCredential(**message))


def refusal(function: Any, *arguments: Any) -> Any:
    with pytest.raises(Refusal) as caught:
        function(*arguments)
    return caught.value.problem
