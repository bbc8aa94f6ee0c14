"""Routes of the operator's door that change nothing: how the proxy is, and what is on record."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos import __version__
from mycelos.ledger.query import read_event_query
from mycelos.proxy.operator_door.answers import answer
from mycelos.proxy.vault.slots import system_clock, timestamp
from mycelos.wire.operator import DoorStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.egress.rules import EgressRules
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.lockdown_step import LockdownStep
    from mycelos.proxy.passkeys.store import Passkeys
    from mycelos.proxy.vault.store import Vault
    from mycelos.wire.witness import WitnessStatus


class OverviewRoutes:
    """Reading alone."""

    def __init__(
        self,
        vault: Vault,
        rules: EgressRules,
        recorder: Recorder,
        lockdown: LockdownStep,
        passkeys: Passkeys,
        *,
        witnesses: Callable[[], tuple[WitnessStatus, ...]] = tuple,
    ) -> None:
        self._vault = vault
        self._rules = rules
        self._recorder = recorder
        self._lockdown = lockdown
        self._passkeys = passkeys
        self._witnesses = witnesses
        self._started_at = timestamp(system_clock())

    def routes(self) -> list[Route]:
        """/status and /audit/events."""
        return [
            Route("/status", self._status, methods=["GET"]),
            Route("/audit/events", self._audit_events, methods=["GET"]),
        ]

    async def _status(self, _request: Request) -> Response:
        return answer(
            DoorStatus(
                version=__version__,
                process=os.getpid(),
                started_at=self._started_at,
                key_slot=self._vault.keys.kid,
                credentials=len(self._vault.list()),
                damaged=len(self._vault.damaged()),
                egress_rules=len(self._rules.list()),
                web=self._rules.web,
                lockdown=self._lockdown.lockdown.state,
                passkeys=tuple(passkey.id for passkey in self._passkeys.list()),
                witnesses=self._witnesses(),
            )
        )

    async def _audit_events(self, request: Request) -> Response:
        query = read_event_query(request.query_params.multi_items(), datetime.now(UTC))
        entries = await self._recorder.events(query)
        return answer({"entries": [entry.as_dict() for entry in entries]})
