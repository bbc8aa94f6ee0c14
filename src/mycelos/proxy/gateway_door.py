"""The gateway's door: what its bearer can do, and nothing else.

No route changes a credential, a binding or an egress rule. Errors carry no text of a library; what is not foreseen
is `internal`, logged by its type alone.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl

import msgspec

from mycelos.ledger.events import Event
from mycelos.ledger.query import read_event_query
from mycelos.proxy import asgi
from mycelos.proxy.asgi import DisconnectedError, Receive, Scope, Send
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.decoding import decode_json
from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION, CredentialSummary
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mycelos.ledger.entry import Entry
    from mycelos.proxy.egress_routes import EgressRoutes
    from mycelos.proxy.vault.records import Credential

_SMALL_BODY: Final = 256 * 1024
# Failures are on record once a second at most: somebody who guesses must not fill the disk.
_RECORD_EVERY: Final = 1.0
_log = logging.getLogger(__name__)


class CredentialList(Protocol):
    """The vault, as this door sees it."""

    def list(self) -> Sequence[Credential]:
        """Metadata of every credential."""
        ...


class Ledger(Protocol):
    """The recorder, as this door sees it."""

    async def fact(self, event: Event, *, outcome: str, reason: str, details: dict[str, Any]) -> Any:
        """Something has happened."""
        ...

    async def append_claimed(self, request: AppendRequest) -> AppendReceipt:
        """What the gateway says."""
        ...

    async def events(
        self,
        *,
        after: int | None,
        limit: int,
        suspicious: bool,
        since: str | None,
        event: str | None,
        agent: str | None,
        run: str | None,
    ) -> list[Entry]:
        """Entries."""
        ...


class GatewayDoor:
    """The door as an ASGI application."""

    def __init__(
        self,
        *,
        token: str,
        egress: EgressRoutes,
        vault: CredentialList,
        ledger: Ledger,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorization = b"Bearer " + token.encode("ascii")
        self._egress = egress
        self._vault = vault
        self._ledger = ledger
        self._monotonic = monotonic
        self._recorded_at = float("-inf")
        self._failures = 0
        self._routes = {
            ("POST", "/http"): egress.http,
            ("POST", "/credential/list"): self._list_credentials,
            ("POST", "/credential/materialize"): self._materialize,
            ("POST", "/audit/append"): self._append,
            ("GET", "/audit/events"): self._events,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = False

        async def watched_send(message: dict[str, Any]) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._answer(scope, receive, watched_send)
        except DisconnectedError:
            return
        except Refusal as refusal:
            if not began:
                await asgi.answer_problem(send, refusal.problem)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, its text could quote a secret
            _log.error("a request at the gateway's door failed: %s", type(error).__name__)
            if not began:
                internal = Refusal(
                    ProblemCode.INTERNAL, "The proxy failed at this request.", "See what was done: mycelos db audit"
                )
                await asgi.answer_problem(send, internal.problem)

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
        if path.startswith("/forward/"):
            await self._egress.forward(scope, receive, send)
            return
        route = self._routes.get((method, path))
        if route is None:
            known = any(known_path == path for _, known_path in self._routes)
            raise Refusal(
                ProblemCode.METHOD_NOT_ALLOWED if known else ProblemCode.NOT_FOUND,
                "This route answers another method." if known else "The gateway's door has no such route.",
                "See the proxy's routes in docs/reference.",
            )
        await route(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._authorization):
            return
        self._failures += 1
        now = self._monotonic()
        if now - self._recorded_at >= _RECORD_EVERY:
            self._recorded_at = now
            attempts, self._failures = self._failures, 0
            await self._ledger.fact(
                Event.PROXY_AUTH_FAILED,
                outcome="refused",
                reason="bearer",
                details={"door": "gateway", "attempts": attempts},
            )
        raise Refusal(
            ProblemCode.UNAUTHORIZED,
            "The bearer is missing or is not the proxy's.",
            "Give gateway and proxy the same MYCELOS_PROXY_TOKEN.",
        )

    async def _list_credentials(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await asgi.read_body(receive, _SMALL_BODY)
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

    async def _materialize(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        """Off: nothing needs it, and it is armed by nobody."""
        await asgi.read_body(receive, _SMALL_BODY)
        code = ProblemCode.MATERIALIZE_DENIED
        await self._ledger.fact(
            Event.PROXY_MATERIALIZE_DENIED, outcome="refused", reason=code.value, details={"door": "gateway"}
        )
        raise Refusal(code, "No credential is given out.", "Use it through /http or /forward, where it is injected.")

    async def _append(self, _scope: Scope, receive: Receive, send: Send) -> None:
        request = decode_json(await asgi.read_body(receive, _SMALL_BODY), AppendRequest, "event")
        await asgi.answer_json(send, await self._ledger.append_claimed(request))

    async def _events(self, scope: Scope, _receive: Receive, send: Send) -> None:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = read_event_query(pairs, datetime.now(UTC))
        entries = await self._ledger.events(**msgspec.structs.asdict(query))
        await asgi.answer_json(send, {"entries": [entry.as_dict() for entry in entries]})
