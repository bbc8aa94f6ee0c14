"""Lets go of what was posted as soon as it is answered: what only a cycle of references holds would stay for long.

The memory itself is overwritten as it is freed: see `mycelos.supervisor.processes`.
"""

from __future__ import annotations

import gc

from starlette.types import ASGIApp, Receive, Scope, Send


class Forgetting:
    """An application, and after each form a collection of what its answering left behind."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then collect, also where the answer failed."""
        try:
            await self._app(scope, receive, send)
        finally:
            if scope.get("method") == "POST":
                gc.collect()
