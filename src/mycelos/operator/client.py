"""The one place on this side that connects: HTTP over the operator's unix socket, with the token beside it."""

from __future__ import annotations

import http.client
import os
import re
import socket
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import read_plain_file
from mycelos.wire import operator as messages
from mycelos.wire import passkeys as passkey_messages
from mycelos.wire.approvals import ApprovalList, ApprovalView, DecideApproval
from mycelos.wire.keys import KeyRotated, KeyStatus, RotateKey
from mycelos.wire.lockdown import LockdownAnswer, SetLockdown
from mycelos.wire.problems import Problem, Refusal

Answer = TypeVar("Answer")

_ADDRESS_LIMIT: Final = 107
_ANSWER_LIMIT: Final = 64 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 30.0
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_TOKEN_FILE_LIMIT: Final = 256


class OperatorUnavailableError(Exception):
    """The door does not answer. ``detail`` says what is wrong, ``next_step`` what to do."""

    def __init__(self, *, detail: str, next_step: str) -> None:
        super().__init__(f"{detail} {next_step}")
        self.detail = detail
        self.next_step = next_step


class OperatorNotRunningError(OperatorUnavailableError):
    """Nobody is at the door: no proxy runs there."""


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

    def test(self, service: str, path: str | None = None) -> messages.CredentialTested:
        """Send one harmless request with a credential, and say what came of it."""
        message = messages.TestCredential(service=service, path=path)
        return self._post("/credential/test", message, messages.CredentialTested)

    def delete(self, service: str) -> None:
        """Remove a credential."""
        self._post("/credential/delete", messages.DeleteCredential(service=service), messages.Empty)

    def arm(self, service: str) -> messages.MaterializeArmed:
        """Let a credential be given out in plain once."""
        return self._post("/materialize/arm", messages.ArmMaterialize(service=service), messages.MaterializeArmed)

    def confirm(self, service: str) -> messages.CredentialView:
        """Let a parked credential be used again."""
        return self._post("/credential/confirm", messages.ConfirmCredential(service=service), messages.CredentialView)

    def record_backup(self, message: messages.BackupMade) -> None:
        """Put on record that a backup was made."""
        self._post("/backup/created", message, messages.Empty)

    def record_export(self, message: messages.AuditExport) -> None:
        """Put on record that the ledger is read out in whole."""
        self._post("/audit/exported", message, messages.Empty)

    def record_refusal(self, message: messages.PageRefusal) -> None:
        """Put on record what the vault page refused by itself."""
        self._post("/session/refused", message, messages.Empty)

    def credentials(self) -> messages.CredentialList:
        """Every credential."""
        return self._post("/credential/list", messages.Empty(), messages.CredentialList)

    def templates(self) -> tuple[messages.TemplateView, ...]:
        """The templates for well-known services."""
        return self._post("/credential/templates", messages.Empty(), messages.TemplateList).templates

    def egress_rules(self, request: messages.RuleRequest) -> tuple[messages.RuleView, ...]:
        """Show or change the egress rules; the rules as they stand afterwards."""
        return self._post("/egress/rules", request, messages.RuleList).rules

    def approvals(self) -> tuple[ApprovalView, ...]:
        """The requests that wait for a person, the oldest first."""
        return self._post("/approval/list", messages.Empty(), ApprovalList).approvals

    def decide_approval(self, message: DecideApproval) -> None:
        """Approve or refuse one request, once."""
        self._post("/approval/decide", message, messages.Empty)

    def create_link(self) -> messages.LinkCreated:
        """A one-time code for the vault page."""
        return self._post("/link/create", messages.Empty(), messages.LinkCreated)

    def redeem_link(self, code: str) -> None:
        """Use a one-time code up."""
        self._post("/link/redeem", messages.RedeemLink(code=code), messages.Empty)

    def end_sessions(self, count: int = 1) -> None:
        """Put on record that sessions of the vault page ended."""
        self._post("/session/end", messages.EndSessions(count=count), messages.Empty)

    def begin_enrolment(self, session: str, label: str) -> dict[str, Any]:
        """What a browser is asked for to make a passkey."""
        message = passkey_messages.BeginEnrolment(session=session, label=label)
        return self._post("/passkey/enrol/begin", message, passkey_messages.CeremonyOptions).options

    def finish_enrolment(
        self, session: str, registration: passkey_messages.Registration
    ) -> passkey_messages.PasskeyView:
        """Enrol the passkey that a browser made."""
        message = passkey_messages.FinishEnrolment(session=session, registration=registration)
        return self._post("/passkey/enrol/finish", message, passkey_messages.PasskeyView)

    def begin_passkey_sign_in(self) -> dict[str, Any]:
        """What a browser is asked for to sign in with a passkey."""
        return self._post("/passkey/sign-in/begin", messages.Empty(), passkey_messages.CeremonyOptions).options

    def finish_passkey_sign_in(self, assertion: passkey_messages.Assertion) -> passkey_messages.PasskeyView:
        """Whose sign-in a browser's answer is."""
        message = passkey_messages.FinishSignIn(assertion=assertion)
        return self._post("/passkey/sign-in/finish", message, passkey_messages.PasskeyView)

    def begin_approval(self, digest: str) -> dict[str, Any]:
        """What a browser is asked for to sign a request that waits for a person."""
        message = passkey_messages.BeginApproval(digest=digest)
        return self._post("/passkey/approval/begin", message, passkey_messages.CeremonyOptions).options

    def passkeys(self) -> tuple[passkey_messages.PasskeyView, ...]:
        """Every passkey."""
        return self._post("/passkey/list", messages.Empty(), passkey_messages.PasskeyList).passkeys

    def remove_passkey(self, passkey_id: str) -> None:
        """Forget a passkey."""
        self._post("/passkey/remove", passkey_messages.RemovePasskey(id=passkey_id), messages.Empty)

    def set_lockdown(self, *, enabled: bool) -> LockdownAnswer:
        """Stop all egress, or let requests be decided again."""
        return self._post("/lockdown", SetLockdown(enabled=enabled), LockdownAnswer)

    def rotate_key(self, name: str | None) -> KeyRotated:
        """Change the master key, or the long-lived key of this name."""
        return self._post("/key/rotate", RotateKey(name=name), KeyRotated)

    def key_status(self) -> KeyStatus:
        """What is known of the keys."""
        return self._exchange("GET", "/key/status", None, KeyStatus)

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
        connection = UnixConnection(str(self._layout.operator_socket), self._timeout)
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
            found = _TOKEN.fullmatch(read_plain_file(self._layout.operator_token, _TOKEN_FILE_LIMIT))
        except FileNotFoundError:
            raise self._not_running() from None
        except PermissionError:
            raise self._not_ours() from None
        except OSError:
            found = None
        if found is None:
            path = self._layout.operator_token
            raise OperatorUnavailableError(
                detail=f"{path} is no plain file with a token in it.",
                next_step=f"Make it new: mycelos stop - rm {path} - mycelos serve",
            )
        return found[0].decode("ascii")

    def _not_running(self) -> OperatorNotRunningError:
        return OperatorNotRunningError(
            detail=f"Mycelos is not running in {self._layout.root}.",
            next_step="Start it with: mycelos serve - or name its folder in MYCELOS_DATA_DIR.",
        )

    def _not_ours(self) -> OperatorUnavailableError:
        return OperatorUnavailableError(
            detail=f"This process may not open the operator's door in {self._layout.proxy}.",
            next_step="Use the user that runs Mycelos; if the proxy was restarted, restart the whole system.",
        )


class UnixConnection(http.client.HTTPConnection):
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
