"""The one place on this side that connects: HTTP over the operator's unix socket, with the token beside it."""

from __future__ import annotations

import http.client
import os
import socket
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.wire import operator as messages
from mycelos.wire.problems import Problem, Refusal

Answer = TypeVar("Answer")

_ADDRESS_LIMIT: Final = 107
_ANSWER_LIMIT: Final = 64 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 30.0


class OperatorUnavailableError(Exception):
    """The door does not answer. ``detail`` says what is wrong, ``next_step`` what to do."""

    def __init__(self, *, detail: str, next_step: str) -> None:
        super().__init__(f"{detail} {next_step}")
        self.detail = detail
        self.next_step = next_step


class OperatorClient:
    """Calls to the operator's door of the system that lives in one data folder. Each call is one connection."""

    def __init__(self, layout: DataLayout, timeout: float = _TIMEOUT_SECONDS) -> None:
        self._layout = layout
        self._timeout = timeout

    def store(self, message: messages.StoreCredential) -> messages.CredentialView:
        """Store a new credential."""
        return self._post("/credential/store", message, messages.CredentialView)

    def rotate(self, message: messages.RotateCredential) -> messages.CredentialView:
        """Put a new secret in place of the old one."""
        return self._post("/credential/rotate", message, messages.CredentialView)

    def bind(self, message: messages.BindCredential) -> messages.CredentialView:
        """Replace a credential's bindings."""
        return self._post("/credential/bind", message, messages.CredentialView)

    def delete(self, service: str) -> None:
        """Remove a credential."""
        self._post("/credential/delete", messages.DeleteCredential(service=service), messages.Empty)

    def credentials(self) -> messages.CredentialList:
        """Every credential."""
        return self._post("/credential/list", messages.Empty(), messages.CredentialList)

    def templates(self) -> tuple[messages.TemplateView, ...]:
        """The templates for well-known services."""
        return self._post("/credential/templates", messages.Empty(), messages.TemplateList).templates

    def egress_rules(self, request: messages.RuleRequest) -> tuple[messages.RuleView, ...]:
        """Show or change the egress rules; the rules as they stand afterwards."""
        return self._post("/egress/rules", request, messages.RuleList).rules

    def create_link(self) -> messages.LinkCreated:
        """A one-time code for the vault page."""
        return self._post("/link/create", messages.Empty(), messages.LinkCreated)

    def redeem_link(self, code: str) -> None:
        """Use a one-time code up."""
        self._post("/link/redeem", messages.RedeemLink(code=code), messages.Empty)

    def end_session(self) -> None:
        """Put on record that a session of the vault page ended."""
        self._post("/session/end", messages.Empty(), messages.Empty)

    def status(self) -> messages.DoorStatus:
        """What the proxy says of itself."""
        return self._exchange("GET", "/status", None, messages.DoorStatus)

    def audit_events(self, **query: str) -> list[dict[str, Any]]:
        """Entries of the ledger; the query's names are those of `mycelos db audit`."""
        target = f"/audit/events?{urlencode(query)}"
        return self._exchange("GET", target, None, dict[str, list[dict[str, Any]]])["entries"]

    def _post(self, path: str, message: msgspec.Struct, answer_type: type[Answer]) -> Answer:
        return self._exchange("POST", path, msgspec.json.encode(message), answer_type)

    def _exchange(self, method: str, target: str, body: bytes | None, answer_type: type[Answer]) -> Answer:
        connection = _UnixConnection(str(self._layout.operator_socket), self._timeout)
        headers = {"Authorization": f"Bearer {self._token()}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            status, content = response.status, response.read(_ANSWER_LIMIT)
        except (FileNotFoundError, ConnectionRefusedError):
            raise self._not_running() from None
        except PermissionError:
            raise self._not_ours() from None
        except (OSError, http.client.HTTPException) as error:
            raise OperatorUnavailableError(
                detail=f"The proxy broke off while it was asked ({type(error).__name__}).",
                next_step="See how it is with: mycelos status - and what was done with: mycelos db audit",
            ) from None
        finally:
            connection.close()
        try:
            if status >= 400:
                problem = msgspec.json.decode(content, type=Problem)
                raise Refusal(problem.code, problem.detail, problem.next)
            return msgspec.json.decode(content, type=answer_type)
        except msgspec.DecodeError:
            raise OperatorUnavailableError(
                detail="The proxy's answer cannot be read: it is of another version.",
                next_step="Restart the system: mycelos stop, then mycelos serve",
            ) from None

    def _token(self) -> str:
        try:
            return self._layout.operator_token.read_text("ascii").strip()
        except FileNotFoundError:
            raise self._not_running() from None
        except PermissionError:
            raise self._not_ours() from None

    def _not_running(self) -> OperatorUnavailableError:
        return OperatorUnavailableError(
            detail=f"Mycelos is not running in {self._layout.root}.",
            next_step="Start it with: mycelos serve - or name its folder in MYCELOS_DATA_DIR.",
        )

    def _not_ours(self) -> OperatorUnavailableError:
        return OperatorUnavailableError(
            detail=f"This process may not open the operator's door in {self._layout.proxy}.",
            next_step="Use the user that runs Mycelos; if the proxy was restarted, restart the whole system.",
        )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("mycelos-operator", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect, also where the path is longer than a socket's address may be."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= _ADDRESS_LIMIT:
            self.sock.connect(self._path)
            return
        folder, name = os.path.split(self._path)
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock.connect(f"/proc/self/fd/{descriptor}/{name}")
        finally:
            os.close(descriptor)
