"""A real vault, ledger and operator's door on a real unix socket, in a thread of the test's process.

Loaded by the conftests of the folders that need it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from egress_house import House, ListedResolver, guard_of

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.query import EventQuery
from mycelos.operator.client import OperatorClient
from mycelos.proxy import lockdown_step
from mycelos.proxy.egress.approvals import Approvals
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.exchange import Exchange
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.lockdown_step import LockdownStep
from mycelos.proxy.materialize import Materializing
from mycelos.proxy.operator_door.composition import Parts, compose
from mycelos.proxy.operator_door.links import OneTimeLinks
from mycelos.proxy.operator_door.unix_socket import bind_operator_socket, write_operator_token
from mycelos.proxy.passkeys.ceremony import RelyingParty
from mycelos.proxy.passkeys.store import Passkeys
from mycelos.proxy.vault.store import Vault
from mycelos.serving.http_server import HttpServer
from mycelos.wire.keys import KeySource
from mycelos.wire.witness import WitnessStatus

MASTER_KEY = bytes(range(32))
WAIT = 30.0
"""Seconds after which any wait of these tests has failed."""


class OperatorSystem:
    """What the proxy composes for the operator, without the gateway's side."""

    def __init__(
        self, layout: DataLayout, key_source: KeySource = KeySource.FILE, master_key: bytes = MASTER_KEY
    ) -> None:
        self.layout = layout
        self._master_key = master_key
        self.key_source = key_source
        self.client = OperatorClient(layout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.vault: Vault
        self.recorder: Recorder
        self.rules: EgressRules
        self.passkeys: Passkeys
        self.rotations: list[str] = []
        self.approvals = Approvals()
        self._ports: tuple[int, ...] = ()
        self.witnesses: tuple[WitnessStatus, ...] = ()
        self.changes = 0
        """How often the door said that something has changed."""

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
        entries = self.run(self.recorder.events(EventQuery(limit=1000)))
        return [entry.as_dict() for entry in entries if entry.event == name]

    def open_ports(self, *ports: int) -> None:
        """Let egress reach these ports of 127.0.0.1, as `MYCELOS_EGRESS_OPEN` does."""
        self._ports = ports

    def open(self, call: EgressCall) -> AbstractAsyncContextManager[Exchange]:
        """One request through a real pipeline: the port that the door's routes are given."""
        house = House(
            self.vault, self.rules, self.lockdown, self.recorder, ListedResolver(), self._http, guard_of,
            approvals=self.approvals,
        )  # fmt: skip
        return house.pipeline(*self._ports).open(call)

    async def _start(self) -> None:
        self._http = HttpClient(make_trust(None))
        self.vault = await asyncio.to_thread(Vault.open, self.layout, self._master_key)
        self.recorder = await Recorder.open(self.layout.ledger, keys=partial(ledger_keys, self.vault))
        self.rules = await asyncio.to_thread(EgressRules.open, self.vault.database, self.vault.keys)
        token = write_operator_token(self.layout)
        set_at = await lockdown_step.set_at(self.recorder)
        self.lockdown = await asyncio.to_thread(Lockdown.open, self.vault.database, self.vault.keys, set_at)
        links = OneTimeLinks()
        vault_page = RelyingParty.of("http://localhost:9101")
        self.passkeys = await asyncio.to_thread(Passkeys.open, self.vault.database, self.vault.keys, vault_page)
        self.step = LockdownStep(
            self.lockdown,
            self.recorder,
            links,
            self.vault.state.anchor_details,
            is_recorded=set_at is not None,
        )
        self.materializing = Materializing(vault=self.vault, recorder=self.recorder, lockdown=self.lockdown)
        self.door = compose(
            Parts(
                vault=self.vault,
                recorder=self.recorder,
                rules=self.rules,
                links=links,
                passkeys=self.passkeys,
                egress=self,
                lockdown=self.step,
                approvals=self.approvals,
                materializing=self.materializing,
                token=token,
                changed=self._count_change,
                rotated=self.rotations.append,
                layout=self.layout,
                key_source=self.key_source,
                witnesses=lambda: self.witnesses,
            )
        )
        self._server = HttpServer(self.door)
        await self._server.listen_unix(bind_operator_socket(self.layout))

    def _count_change(self) -> None:
        self.changes += 1

    async def _close(self) -> None:
        await self._server.stop()
        self._http.close()
        await self.recorder.close()
        await asyncio.to_thread(self.vault.close)
