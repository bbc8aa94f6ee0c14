"""A proxy's stores as its start opens them, with the operator's changes on record, and copies to put back."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.head_keeper import HeadKeeper, keeping
from mycelos.proxy.ledger.heads import outside_of
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.lockdown_step import LockdownStep
from mycelos.proxy.main import open_stores
from mycelos.proxy.operator_door.links import OneTimeLinks
from mycelos.proxy.operator_door.recorded import RecordedChange
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule

MASTER_KEY = bytes(range(32))


def a_binding(host: str = "api.example.com") -> Binding:
    return Binding(
        v=1,
        scheme="https",
        host=host,
        port=443,
        methods=(Method.GET,),
        path=("v1",),
        query="any",
        inject=Bearer(),
        response=ResponseRule(set_cookie="drop", location_query="redact"),
        confirm=False,
        quota=None,
    )


def _nothing() -> None:
    """Nothing is on its way."""


@dataclass
class Kept:
    """A running proxy without its doors."""

    layout: DataLayout
    vault: Vault
    recorder: Recorder
    rules: EgressRules
    step: LockdownStep
    change: RecordedChange

    async def store(self, service: str, secret: str) -> None:
        await self.change(
            Event.CREDENTIAL_STORED,
            service,
            {},
            lambda: self.vault.store(service, service, (a_binding(),), secret),
        )

    async def rotate(self, service: str, secret: str) -> None:
        await self.change(Event.CREDENTIAL_ROTATED, service, {}, lambda: self.vault.rotate(service, secret))

    async def delete(self, service: str) -> None:
        await self.change(Event.CREDENTIAL_DELETED, service, {}, lambda: self.vault.delete(service))

    async def set_web(self, *, enabled: bool) -> None:
        await self.change(Event.EGRESS_RULE_CHANGED, "*", {}, lambda: self.rules.set_web(enabled=enabled))


@asynccontextmanager
async def kept(layout: DataLayout, environ: dict[str, str], master_key: bytes = MASTER_KEY) -> AsyncIterator[Kept]:
    """What `mycelos.proxy.main` opens at its start, and what it does until it serves."""
    async with AsyncExitStack() as stack:
        vault, recorder = await open_stores(layout, master_key, stack, environ)
        lockdown = Lockdown.open(vault.database, vault.keys)
        step = LockdownStep(lockdown, recorder, OneTimeLinks(), vault.state.anchor_details)
        await recorder.fact(Event.PROXY_STARTED, outcome="ok", details=vault.state.anchor_details())
        vault.state.demand_announced()
        outside = outside_of(layout, environ, installation_of(layout.vault))
        await stack.enter_async_context(keeping(HeadKeeper(outside, recorder, vault.state)))
        change = RecordedChange(recorder, _nothing, vault.state.anchor_details)
        yield Kept(layout, vault, recorder, EgressRules.open(vault.database, vault.keys), step, change)


async def once(layout: DataLayout, environ: dict[str, str], work: Callable[[Kept], Any] | None = None) -> None:
    """Start, do one thing, stop."""
    async with kept(layout, environ) as installation:
        if work is not None:
            await work(installation)


class Copy:
    """A stopped installation's files as they were, to put back one by one or together."""

    def __init__(self, layout: DataLayout, folder: Path) -> None:
        self._layout = layout
        self._folder = folder
        shutil.copytree(layout.root, folder, symlinks=True)

    def put_back(self, *names: str) -> None:
        """Put ``vault``, ``ledger`` or ``everything`` back, logs of SQLite included."""
        if names == ("everything",):
            shutil.rmtree(self._layout.root)
            shutil.copytree(self._folder, self._layout.root, symlinks=True)
            return
        for name in names:
            for path in self._layout.proxy.glob(f"{name}.sqlite*"):
                path.unlink()
            for path in (self._folder / "proxy").glob(f"{name}.sqlite*"):
                shutil.copy2(path, self._layout.proxy / path.name)
