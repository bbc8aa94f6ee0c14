"""The command line's way to the gateway: HTTP on loopback, with the token that lies in the data folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mycelos.cli.api_words import in_command_words
from mycelos.cli.data_directory import settings_of
from mycelos.cli.event_stream import Event, read_events
from mycelos.cli.gateway_answers import Answer, AnswerError, decode_answer
from mycelos.cli.output import CommandError, error_of
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import read_plain_file
from mycelos.supervisor.processes import Role
from mycelos.supervisor.state import SupervisorState, read_state
from mycelos.wire.problems import MEDIA_TYPE, Problem

ANSWER_LIMIT: Final = 64 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 60.0
"""Longer than the gateway's heartbeat on a stream, so that silence means that it is gone."""
_LOOPBACK_OF: Final = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect to


_TOKEN_FILE_LIMIT: Final = 256
_TOKEN: Final = re.compile(rb"(?P<token>[A-Za-z0-9_-]{43})\n?")
"""256 random bits in base64url, as `write_command_line_token` of the gateway writes them."""
_BROKEN: Final = (OSError, http.client.HTTPException, ValueError)
"""No answer, or one that is no HTTP: `http.client` lets its number parsing's own errors through."""


class BrokenOffError(Exception):
    """The connection ended in the middle of an answer or stream."""


@dataclass(frozen=True)
class GatewayClient:
    """Calls to the gateway of one data folder. Each call is one connection."""

    layout: DataLayout
    host: str
    port: int
    timeout: float = _TIMEOUT_SECONDS

    def get(self, *path: str, answer: type[Answer]) -> Answer:
        """The answer to GET, of this form and no other; the path's segments are quoted here."""
        return _checked(self._exchange("GET", _target(path), None), answer)

    def post(self, *path: str, answer: type[Answer], body: dict[str, Any] | None = None) -> Answer:
        """The answer to POST, of this form and no other."""
        return _checked(self._exchange("POST", _target(path), body), answer)

    def patch(self, *path: str, answer: type[Answer], body: dict[str, Any]) -> Answer:
        """The answer to PATCH, of this form and no other."""
        return _checked(self._exchange("PATCH", _target(path), body), answer)

    def delete(self, *path: str) -> None:
        """DELETE; what comes with a success is not looked at."""
        self._exchange("DELETE", _target(path), None)

    def is_healthy(self) -> bool:
        """Whether the page answers."""
        connection = self._connection()
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == http.HTTPStatus.OK
            except _BROKEN:
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
            except _BROKEN as error:
                raise BrokenOffError(type(error).__name__) from None

    def _exchange(self, method: str, target: str, body: dict[str, Any] | None) -> bytes:
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
            except _BROKEN as error:
                message = f"The gateway does not answer ({type(error).__name__})."
                raise CommandError(message, "See how it is with: mycelos status") from None
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(status, answer)
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)

    def _headers(self) -> dict[str, str]:
        # Read anew each time: a restarted gateway has made another token.
        return {"Authorization": f"Bearer {read_token(self.layout)}", "Connection": "close"}


def connect() -> GatewayClient:
    """The client of the system that runs in the environment's data folder.

    Raises:
        CommandError: none runs there, or it runs without its gateway.
    """
    layout = DataLayout(settings_of(os.environ).data_directory)
    state = running_state(layout)
    if state is None:
        raise not_running(layout)
    return client_of(layout, state)


def read_token(layout: DataLayout) -> str:
    """The command line's token. The gateway writes its file: what is no token is not sent on, nor shown.

    Raises:
        CommandError: there is none, or the file holds something else.
    """
    file = layout.command_line_token
    try:
        content = read_plain_file(file, _TOKEN_FILE_LIMIT)
    except FileNotFoundError:
        raise not_running(layout) from None
    except PermissionError:
        message = f"This user may not read {file}."
        raise CommandError(message, "Use the user that runs Mycelos.") from None
    except OSError:
        content = b""
    found = _TOKEN.fullmatch(content)
    if found is None:
        message = f"{file} does not hold what a gateway of this version writes."
        raise CommandError(message, "Restart the system: mycelos stop, then mycelos serve")
    return found["token"].decode("ascii")


def client_of(layout: DataLayout, state: SupervisorState) -> GatewayClient:
    """The client of a running system.

    Raises:
        CommandError: its gateway is down, and nobody would answer at its port, which the supervisor holds.
    """
    if is_down(state):
        message = "The gateway is not running; the proxy and the vault page are."
        raise CommandError(message, f"Its last words say why: the log of mycelos serve ({layout.log})")
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
    except (OSError, msgspec.DecodeError):
        message = f"{layout.supervisor_state} is not what this version writes."
        raise CommandError(message, "Stop Mycelos and remove that file.") from None


def is_down(state: SupervisorState) -> bool:
    """Whether no process of the gateway runs at this moment."""
    return any(child.name == Role.GATEWAY.value and child.pid is None for child in state.children)


def not_running(layout: DataLayout) -> CommandError:
    """Said by every command that needs a running system."""
    return CommandError(
        f"Mycelos is not running in {layout.root}.", "Start it with: mycelos serve - or name its folder: --data-dir"
    )


def _target(path: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in path)


def _checked(content: bytes, answer: type[Answer]) -> Answer:
    try:
        return decode_answer(content, answer)
    except AnswerError:
        message = "The gateway's answer was not understood: it is not of this version's form."
        raise CommandError(message, "Restart the system: mycelos stop, then mycelos serve") from None


def _refusal(status: int, content: bytes) -> CommandError:
    try:
        return error_of(in_command_words(decode_answer(content, Problem)))
    except AnswerError:
        return CommandError(
            f"The gateway answered with status {status} and no {MEDIA_TYPE}.", "See its log, or: mycelos status"
        )
