"""Route of the operator's door: a credential is armed, to be given out in plain once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.wire import operator as messages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.materialize import Materializing
    from mycelos.proxy.operator_door.recorded import RecordedChange


class MaterializeRoutes:
    """What the operator may let out of the vault."""

    def __init__(self, materializing: Materializing, change: RecordedChange) -> None:
        self._materializing = materializing
        self._change = change

    def routes(self) -> list[Route]:
        """/materialize/arm."""
        return [Route("/materialize/arm", self._arm, methods=["POST"])]

    async def _arm(self, request: Request) -> Response:
        wanted = await read_message(request, messages.ArmMaterialize)
        armed = await self._change(
            Event.CREDENTIAL_ARMED, wanted.service, {}, lambda: self._materializing.arm(wanted.service)
        )
        return answer(armed)
