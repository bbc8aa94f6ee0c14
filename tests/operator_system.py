"""A real vault, ledger and operator's door on a real unix socket, in a thread of the test's process.

Loaded by the conftests of the folders that need it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import uvicorn

from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.operator_door import OperatorDoor
from mycelos.proxy.operator_links import OneTimeLinks
from mycelos.proxy.operator_socket import bind_operator_socket, write_operator_token
from mycelos.proxy.vault.store import Vault

MASTER_KEY = bytes(range(32))
WAIT = 30.0
"""Seconds after which any wait of these tests has failed."""


class OperatorSystem:
    """What the proxy composes for the operator, without the gateway's side."""

    def __init__(self, layout: DataLayout) -> None:
        self.layout = layout
        self.client = OperatorClient(layout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.vault: Vault
        self.recorder: Recorder
        self.rules: EgressRules

    def start(self) -> None:
        self._thread.start()
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the door's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT)

    def close(self) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The ledger's entries of one event."""
        entries = self.run(self.recorder.events(after=None, limit=1000))
        return [entry.as_dict() for entry in entries if entry.event == name]

    async def _start(self) -> None:
        self.vault = await asyncio.to_thread(Vault.open, self.layout, MASTER_KEY)
        self.recorder = await Recorder.open(self.layout.ledger)
        with self.vault.wrapped_key("ledger-mac") as key:
            self.recorder.set_mac_key(key.reveal())
        self.rules = await asyncio.to_thread(EgressRules.open, self.vault.database, self.vault.keys)
        token = write_operator_token(self.layout)
        self.door = OperatorDoor(
            vault=self.vault, recorder=self.recorder, rules=self.rules, links=OneTimeLinks(), token=token
        )
        self._listener = bind_operator_socket(self.layout)
        self._server = uvicorn.Server(
            uvicorn.Config(self.door, lifespan="off", log_level="warning", access_log=False, ws="none")
        )
        self._serving = asyncio.ensure_future(self._server.serve([self._listener]))
        # The listener takes connections already; the first is answered when the server has started.

    async def _close(self) -> None:
        self._server.should_exit = True
        await asyncio.wait_for(self._serving, WAIT)
        self._listener.close()
        await self.recorder.close()
        await asyncio.to_thread(self.vault.close)
