"""Routes of the operator's door: what was made beside it is put on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.recorded import OPERATOR
from mycelos.wire import operator as messages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.ledger.recorder import Recorder


class BackupRoutes:
    """The command line makes backups and exports and says so here: the ledger has one writer."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """/backup/created and /audit/exported."""
        return [
            Route("/backup/created", self._created, methods=["POST"]),
            Route("/audit/exported", self._exported, methods=["POST"]),
        ]

    async def _created(self, request: Request) -> Response:
        made: messages.BackupMade = await read_message(request, messages.BackupMade)
        await self._recorder.fact(
            Event.BACKUP_CREATED, principal=OPERATOR, outcome="ok", details=msgspec.structs.asdict(made)
        )
        return answer(messages.Empty())

    async def _exported(self, request: Request) -> Response:
        about: messages.AuditExport = await read_message(request, messages.AuditExport)
        await self._recorder.fact(
            Event.AUDIT_EXPORTED, principal=OPERATOR, outcome="ok", details=msgspec.structs.asdict(about)
        )
        return answer(messages.Empty())
