"""Routes of the operator's door: what keys there are, and their rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.wire.keys import RotateKey

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.key_rotation import Keys


class KeyRoutes:
    """The master key and the long-lived ones."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def routes(self) -> list[Route]:
        """/key/rotate and /key/status."""
        return [
            Route("/key/rotate", self._rotate, methods=["POST"]),
            Route("/key/status", self._status, methods=["GET"]),
        ]

    async def _rotate(self, request: Request) -> Response:
        wanted = await read_message(request, RotateKey)
        rotated = self._keys.rotate_master() if wanted.name is None else self._keys.rotate_named(wanted.name)
        return answer(await rotated)

    async def _status(self, _request: Request) -> Response:
        return answer(await self._keys.status())
