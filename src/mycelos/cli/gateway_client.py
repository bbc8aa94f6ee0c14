"""The command line's way to the gateway: HTTP on loopback, with the token that lies in the data folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mycelos.cli.api_words import in_command_words
from mycelos.cli.data_directory import settings_of
from mycelos.cli.event_stream import Event, read_events
from mycelos.cli.output import CommandError, error_of
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.state import SupervisorState, read_state
from mycelos.wire.problems import MEDIA_TYPE, Problem

ANSWER_LIMIT: Final = 64 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 60.0
"""Longer than the gateway's heartbeat on a stream, so that silence means that it is gone."""
_LOOPBACK_OF: Final = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect to


class BrokenOffError(Exception):
    """The connection ended in the middle of an answer or stream."""


@dataclass(frozen=True)
class GatewayClient:
    """Calls to the gateway of one data folder. Each call is one connection."""

    layout: DataLayout
    host: str
    port: int
    timeout: float = _TIMEOUT_SECONDS

    def get(self, *path: str) -> Any:
        """The answer to GET; the path's segments are quoted here."""
        return self._exchange("GET", _target(path), None)

    def post(self, *path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to POST."""
        return self._exchange("POST", _target(path), body)

    def patch(self, *path: str, body: dict[str, Any]) -> Any:
        """The answer to PATCH."""
        return self._exchange("PATCH", _target(path), body)

    def delete(self, *path: str) -> None:
        """DELETE."""
        self._exchange("DELETE", _target(path), None)

    def is_healthy(self) -> bool:
        """Whether the page answers."""
        connection = self._connection()
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                return False

    def events(self, run_id: str, after: int) -> Iterator[Event]:
        """The run's events from the one after ``after``; ends with the stream.

        Raises:
            BrokenOffError: the gateway went away.
            CommandError: the gateway refused.
        """
        connection = self._connection()
        with contextlib.closing(connection):
            try:
                headers = self._headers() | {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
                connection.request("GET", _target(("api", "runs", run_id, "events")), headers=headers)
                response = connection.getresponse()
                if response.status != http.HTTPStatus.OK:
                    raise _refusal(response.status, response.read(ANSWER_LIMIT))
                yield from read_events(response)
            except (OSError, http.client.HTTPException) as error:
                raise BrokenOffError(type(error).__name__) from None

    def _exchange(self, method: str, target: str, body: dict[str, Any] | None) -> Any:
        headers = self._headers()
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        with contextlib.closing(connection):
            try:
                connection.request(method, target, content, headers)
                response = connection.getresponse()
                status, answer = response.status, response.read(ANSWER_LIMIT)
            except (OSError, http.client.HTTPException) as error:
                message = f"The gateway does not answer ({type(error).__name__})."
                raise CommandError(message, "See how it is with: mycelos status") from None
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(status, answer)
        return json.loads(answer) if answer else None

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)

    def _headers(self) -> dict[str, str]:
        # Read anew each time: a restarted gateway has made another token.
        try:
            token = self.layout.command_line_token.read_text("ascii").strip()
        except FileNotFoundError:
            raise not_running(self.layout) from None
        except PermissionError:
            message = f"This user may not read {self.layout.command_line_token}."
            raise CommandError(message, "Use the user that runs Mycelos.") from None
        return {"Authorization": f"Bearer {token}", "Connection": "close"}


def connect() -> GatewayClient:
    """The client of the system that runs in the environment's data folder.

    Raises:
        CommandError: none runs there.
    """
    layout = DataLayout(settings_of(os.environ).data_directory)
    state = running_state(layout)
    if state is None:
        raise not_running(layout)
    return client_of(layout, state)


def client_of(layout: DataLayout, state: SupervisorState) -> GatewayClient:
    """The client of a running system."""
    return GatewayClient(layout, _LOOPBACK_OF.get(state.bind, state.bind), state.port)


def running_state(layout: DataLayout) -> SupervisorState | None:
    """The running supervisor's state, or None.

    Raises:
        CommandError: its file cannot be read.
    """
    try:
        return read_state(layout)
    except PermissionError:
        message = f"This user may not read {layout.supervisor_state}."
        raise CommandError(message, "Use the user that runs Mycelos.") from None
    except msgspec.DecodeError:
        message = f"{layout.supervisor_state} is not what this version writes."
        raise CommandError(message, "Stop Mycelos and remove that file.") from None


def not_running(layout: DataLayout) -> CommandError:
    """Said by every command that needs a running system."""
    return CommandError(
        f"Mycelos is not running in {layout.root}.", "Start it with: mycelos serve - or name its folder: --data-dir"
    )


def _target(path: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in path)


def _refusal(status: int, content: bytes) -> CommandError:
    try:
        return error_of(in_command_words(msgspec.json.decode(content, type=Problem)))
    except msgspec.DecodeError:
        return CommandError(
            f"The gateway answered with status {status} and no {MEDIA_TYPE}.", "See its log, or: mycelos status"
        )
