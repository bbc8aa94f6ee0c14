"""A stopped installation with a signed ledger of several tiles, and the attacks of `ledger_matrix` on its files."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kept_installation import MASTER_KEY, Kept, kept
from ledger_matrix import COPIED, EDITED, REMEMBERED, SIZE

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.chain import EMPTY, Head, seal
from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import Frontier
from mycelos.ledger.signed_note import VerifierKey
from mycelos.prove.ledger_copy import LedgerCopy
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.keys import LedgerKeys, origin_of
from mycelos.proxy.main import open_stores
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.problems import Refusal

STATE = "XDG_STATE_HOME"


@dataclass
class World:
    """An installation, the old copy of its `data/proxy`, and what an attacker with the key knows."""

    layout: DataLayout
    old: Path
    remembered: str
    keys: LedgerKeys
    new: Path
    """The `data/proxy` of another installation with the same master key."""

    @property
    def key(self) -> VerifierKey:
        return VerifierKey(origin_of(self.keys.public_key), self.keys.public_key)

    def copy(self, folder: Path) -> World:
        """The same, to be attacked."""
        shutil.copytree(self.layout.root, folder, symlinks=True)
        return World(DataLayout(folder), self.old, self.remembered, self.keys, self.new)


@contextmanager
def away(folder: Path) -> Iterator[dict[str, str]]:
    """An environment in which nothing was remembered yet."""
    folder.mkdir(parents=True)
    yield {STATE: str(folder)}
    shutil.rmtree(folder)


async def fill(installation: Kept, size: int) -> None:
    """Record requests in one group, so that the log has ``size`` entries and a checkpoint there."""
    # The writer says the newest word on the vault again before them, where that is due.
    count = size - installation.recorder.head.seq - 1 - len(installation.recorder._writer._word.drafts())
    details = {"host": "api.example", "port": 443, "status": 200}
    drafts = tuple(
        make_draft(
            Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT, run=f"run-{size}-{number}", details=details
        )
        for number in range(count)
    )
    await installation.recorder._submit(drafts)
    assert installation.recorder.head.seq == size - 1


async def build(folder: Path) -> World:
    """Everything that the attacks need, below ``folder``."""
    layout = DataLayout(folder / "data")
    layout.root.mkdir(mode=0o700)
    with away(folder / "state") as environ:
        async with kept(layout, environ) as running:
            await running.store("github", "the-secret-of-github")
            for size in (200, 400, COPIED):
                await fill(running, size)
        shutil.copytree(layout.proxy, folder / "old")
        async with kept(layout, environ) as running:
            await running.rotate("github", "the-next-secret")
            for size in (900, 1100, REMEMBERED):
                await fill(running, size)
            remembered = running.recorder.checkpoint
            await fill(running, SIZE)
    other = DataLayout(folder / "other")
    other.root.mkdir(mode=0o700)
    with away(folder / "state") as environ:
        async with kept(other, environ) as running:
            await fill(running, SIZE)
    assert remembered is not None
    shutil.copytree(layout.root, folder / "scratch")
    vault = Vault.open(DataLayout(folder / "scratch"), MASTER_KEY)
    with closing(vault):
        keys = ledger_keys(vault)
    return World(layout, folder / "old", remembered, keys, other.proxy)


def start(layout: DataLayout, environ: dict[str, str]) -> str:
    """What the start of the proxy says, as far as it opens its stores: nothing where it starts."""

    async def opened() -> None:
        async with AsyncExitStack() as stack:
            await open_stores(layout, MASTER_KEY, stack, environ)

    try:
        asyncio.run(opened())
    except (LedgerError, VaultError, Refusal, OSError, sqlite3.Error) as error:
        return str(error) or type(error).__name__
    return ""


class Log(LedgerCopy):
    """What the files hold, to be changed and written back."""

    def edit(self) -> None:
        """Change one entry, and compute the chain anew."""
        self.entries[EDITED] = self.entries[EDITED]._replace(outcome="harmless")
        self.link()

    def note(self, keys: LedgerKeys, origin: str, size: int) -> str:
        tree = Frontier()
        for entry in self.entries[:size]:
            list(tree.append(bytes.fromhex(entry.leaf_hash)))
        key = VerifierKey(origin, keys.public_key)
        return str(Checkpoint(origin, size, tree.root()).signed([(key, keys.sign)]))

    def sign(self, keys: LedgerKeys, origin: str) -> None:
        """Every checkpoint anew, as if ``keys`` had always signed."""
        self.notes = {min(size, len(self.entries)): "" for size in self.notes}
        self.notes = {size: self.note(keys, origin, size) for size in self.notes}
        self.signed = self.notes[max(self.notes)]

    def append(self, event: Event, phase: Phase = Phase.FACT, **about: object) -> None:
        head = Head(self.entries[-1].seq, self.entries[-1].leaf_hash) if self.entries else EMPTY
        draft = make_draft(event, phase, tenant=DEFAULT_TENANT, **about)  # type: ignore[arg-type]
        self.entries.append(seal(draft, head, self.entries[-1].epoch, self.entries[-1].at, self.entries[-1].mono))
