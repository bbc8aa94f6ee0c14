"""The gateway's door: what its bearer can do, and nothing else.

No route changes a credential, a binding or an egress rule. Errors carry no text of a library; what is not foreseen
is `internal`, logged by its type alone.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mycelos.ledger.events import Event
from mycelos.proxy import asgi, audit_routes
from mycelos.proxy.asgi import DisconnectedError, Receive, Scope, Send
from mycelos.proxy.audit_routes import AuditRoutes
from mycelos.proxy.egress_routes import EgressRoutes, UnreadCallError
from mycelos.proxy.stored_secrets import CLAIMED_CHARACTERS, StoredSecrets, TooMuchTextError, Vault
from mycelos.proxy.turns import Turns
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.decoding import decode_request
from mycelos.wire.egress import (
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    CredentialSummary,
    MaterializeCall,
    MaterializedCredential,
    NothingAsked,
)
from mycelos.wire.lockdown import LOCKDOWN_HEADER, lockdown_header
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_check import SecretCheck, SecretCheckAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mycelos.ledger.entry import Draft
    from mycelos.proxy.lockdown import Lockdown
    from mycelos.proxy.materialize import Materializing

# What uses a credential or leaves this machine: refused here already while egress is locked down. What gives one
# out refuses by itself, so that it is on record.
_EGRESS_ROUTES: Final = ("/http", "/forward/", "/mcp/")
_SMALL_BODY: Final = 256 * 1024
# A message with each character escaped.
_TEXT_BODY: Final = 512 * 1024
# Failures are on record once a second at most: somebody who guesses must not fill the disk.
_RECORD_EVERY: Final = 1.0
_RECORD_LIMIT_EVERY: Final = 60.0
_IS_GATEWAY: Final = "mycelos_is_gateway"
_log = logging.getLogger(__name__)


class Ledger(audit_routes.Ledger, Protocol):
    """The recorder, as this door sees it."""

    async def fact(self, event: Event, *, outcome: str, reason: str, details: dict[str, Any]) -> Any:
        """Something has happened."""
        ...

    def note(self, event: Event, *, outcome: str, reason: str, details: dict[str, Any]) -> Any:
        """Something has happened, and nobody waits."""
        ...

    async def append_claimed(self, request: AppendRequest, judge: Callable[[Draft], Awaitable[None]]) -> AppendReceipt:
        """What the gateway says, if ``judge`` lets what would be written pass."""
        ...


@dataclass
class _Failures:
    """How often since the last record, and when that was."""

    attempts: int = 0
    recorded_at: float = float("-inf")


class GatewayDoor:
    """The door as an ASGI application."""

    def __init__(
        self,
        *,
        token: str,
        egress: EgressRoutes,
        vault: Vault,
        ledger: Ledger,
        lockdown: Lockdown,
        materializing: Materializing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorization = b"Bearer " + token.encode("ascii")
        self._egress = egress
        self._vault = vault
        self._secrets = StoredSecrets(vault, CLAIMED_CHARACTERS, monotonic)
        self._ledger = ledger
        self._lockdown = lockdown
        self._materializing = materializing
        self._monotonic = monotonic
        audit = AuditRoutes(ledger)
        self._turns = Turns()
        self._noted_at: dict[str, float] = {}
        self._limited_at = float("-inf")
        self._failures: dict[str, _Failures] = {}
        self._routes = {
            ("POST", "/http"): egress.http,
            ("POST", "/credential/list"): self._list_credentials,
            ("POST", "/credential/materialize"): self._materialize,
            ("POST", "/secret/check"): self._check_text,
            ("POST", "/audit/append"): self._append,
            ("GET", "/audit/events"): audit.events,
            ("GET", "/audit/summary"): audit.summary,
            ("GET", "/audit/checkpoint"): audit.checkpoint,
            ("GET", "/audit/proof/inclusion"): audit.inclusion,
            ("GET", "/audit/proof/consistency"): audit.consistency,
        }

    def note_refused(self, part: str = "head") -> None:
        """A request whose ``part`` could not be read, as one in absolute form: it may have named a credential."""
        now = self._monotonic()
        if now - self._noted_at.get(part, float("-inf")) >= _RECORD_EVERY:
            self._noted_at[part] = now
            code = ProblemCode.INVALID_REQUEST.value
            details = {"door": "gateway", "code": code, "reasons": [part]}
            self._ledger.note(Event.PROXY_BINDING_VIOLATION, outcome="refused", reason=code, details=details)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = False

        async def watched_send(message: dict[str, Any]) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start":
                message = message | {"headers": [*_without_lockdown(message["headers"]), *self._lockdown_header(scope)]}
            await send(message)

        try:
            await self._turns.take()
            await self._answer(scope, self._in_turn(receive), watched_send)
        except DisconnectedError:
            return
        except Refusal as refusal:
            if isinstance(refusal, UnreadCallError):
                self.note_refused(refusal.part)
            if not began:
                await asgi.answer_problem(watched_send, refusal.problem)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, its text could quote a secret
            _log.error("a request at the gateway's door failed: %s", type(error).__name__)
            if not began:
                internal = Refusal(
                    ProblemCode.INTERNAL, "The proxy failed at this request.", "See what was done: mycelos db audit"
                )
                await asgi.answer_problem(watched_send, internal.problem)

    def _in_turn(self, receive: Receive) -> Receive:
        """``receive``, with another turn at the body's end: what is done with it is the larger part of the work."""

        async def received() -> dict[str, Any]:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                await self._turns.take()
            return message

        return received

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        if (method, path) == ("GET", "/healthz"):
            await asgi.answer_json(send, {"status": "ok"})
            return
        await self._authenticate(scope)
        if asgi.header(scope, PROTOCOL_HEADER) != PROTOCOL_VERSION:
            raise Refusal(
                ProblemCode.PROTOCOL_UNSUPPORTED,
                f"The header {PROTOCOL_HEADER}: {PROTOCOL_VERSION} is missing or names another version.",
                "Run gateway and proxy of the same version.",
            )
        scope[_IS_GATEWAY] = True
        if path.startswith(_EGRESS_ROUTES):
            self._lockdown.refuse()
        if path.startswith("/forward/"):
            await self._egress.forward(scope, receive, send)
            return
        route = self._routes.get((method, path))
        if route is None:
            # Nothing of the gateway's own asks for what is not here: somebody looks for the operator's routes.
            await self._record_failure("route")
            known = any(known_path == path for _, known_path in self._routes)
            raise Refusal(
                ProblemCode.METHOD_NOT_ALLOWED if known else ProblemCode.NOT_FOUND,
                "This route answers another method." if known else "The gateway's door has no such route.",
                "Its routes are listed in docs/reference/proxy-routes.md.",
            )
        await route(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._authorization):
            return
        await self._record_failure("bearer")
        raise Refusal(
            ProblemCode.UNAUTHORIZED,
            "The bearer is missing or is not the proxy's.",
            "Give gateway and proxy the same MYCELOS_PROXY_TOKEN.",
        )

    async def _record_failure(self, reason: str) -> None:
        """Put on record that somebody wanted what is not given here, with how often since the last record."""
        failure = self._failures.setdefault(reason, _Failures())
        failure.attempts += 1
        now = self._monotonic()
        if now - failure.recorded_at >= _RECORD_EVERY:
            failure.recorded_at = now
            attempts, failure.attempts = failure.attempts, 0
            await self._ledger.fact(
                Event.PROXY_AUTH_FAILED,
                outcome="refused",
                reason=reason,
                details={"door": "gateway", "attempts": attempts},
            )

    def _lockdown_header(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What the gateway, and nobody else, is told with each answer, so that it can end its sessions."""
        state = self._lockdown.state
        if not state.last or _IS_GATEWAY not in scope:
            return []
        return [(LOCKDOWN_HEADER.lower().encode(), lockdown_header(state).encode())]

    async def _list_credentials(self, _scope: Scope, receive: Receive, send: Send) -> None:
        if body := await asgi.read_body(receive, _SMALL_BODY):
            decode_request(body, NothingAsked, "request")
        summaries = [
            CredentialSummary(
                service=credential.service,
                label=credential.label,
                created_at=credential.created_at,
                bindings=credential.bindings,
                last_used_at=credential.last_used_at,
            )
            for credential in self._vault.list()
        ]
        await asgi.answer_json(send, {"credentials": summaries})

    async def _materialize(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._lockdown.refuse()
            wanted = decode_request(await asgi.read_body(receive, _SMALL_BODY), MaterializeCall, "request")
        except Refusal as refusal:
            await self._materializing.deny(refusal)
            raise
        async with self._materializing.given_out(wanted.service) as secret:
            plain = secret.reveal().decode("utf-8")
            await asgi.answer_json(send, MaterializedCredential(service=wanted.service, secret=plain))

    async def _check_text(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Of a person's message, before it is kept anywhere; that it was one that holds a secret is on record."""
        request = decode_request(await asgi.read_body(receive, _TEXT_BODY), SecretCheck, "text")
        is_held = await self._looked(self._secrets.answer(request.text))
        if is_held:
            await self._record_refused("message", ProblemCode.FORBIDDEN)
        await asgi.answer_json(send, SecretCheckAnswer(is_held))

    async def _looked(self, look: Awaitable[bool]) -> bool:
        """What ``look`` says; where there was too much to look through, that is on record once a minute."""
        try:
            return await look
        except TooMuchTextError as refusal:
            now = self._monotonic()
            if now - self._limited_at >= _RECORD_LIMIT_EVERY:
                self._limited_at = now
                await self._record_refused("too_much_text", refusal.problem.code)
            raise

    async def _record_refused(self, reason: str, code: ProblemCode) -> None:
        details = {"door": "gateway", "code": code.value}
        await self._ledger.fact(Event.PROXY_SECRET_REFUSED, outcome="refused", reason=reason, details=details)

    async def _append(self, _scope: Scope, receive: Receive, send: Send) -> None:
        request = decode_request(await asgi.read_body(receive, _SMALL_BODY), AppendRequest, "event")
        # What could not be written is refused unread: else it would answer guesses and leave nothing on record.
        await asgi.answer_json(send, await self._ledger.append_claimed(request, self._judge_draft))

    async def _judge_draft(self, draft: Draft) -> None:
        if await self._looked(self._secrets.is_in_draft(draft)):
            await self._record_refused("entry", ProblemCode.INVALID_REQUEST)
            raise Refusal(
                ProblemCode.INVALID_REQUEST,
                "A text of the entry holds a stored secret.",
                "Rotate the credential that stands in a name or a label, and take it out there.",
            )


def _without_lockdown(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An upstream's answer cannot speak for the proxy."""
    return [(name, value) for name, value in headers if name.lower() != LOCKDOWN_HEADER.lower().encode()]
