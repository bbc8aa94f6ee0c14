"""A stopped installation with something in everything that a backup holds, and what a test needs around one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyrage.x25519 import Identity

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.proxy.backup.create import Made, create
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.keys import create_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule

KEY = bytes(range(32))
SECRET = "canary-backup-5c1d77"
SERVICES = ("github", "slack")


def binding_for(host: str) -> Binding:
    return Binding(
        v=1, scheme="https", host=host, port=443, methods=(Method.GET,), path=("v1",), query="any", inject=Bearer(),
        response=ResponseRule(set_cookie="drop", location_query="redact"), confirm=False, quota=None,
    )  # fmt: skip


def quiet(*_arguments: object) -> None:
    """Nobody watches."""


@dataclass
class World:
    """The installation, an identity that can read its backups, and a folder for them."""

    layout: DataLayout
    identity: Identity
    folder: Path

    def create(self, name: str = "b.age", **options) -> Made:
        """A backup of it."""
        options = {"record": quiet, "progress": quiet, **options}
        return create(self.layout, [self.identity.to_public()], self.folder / name, **options)

    def identity_file(self) -> Path:
        path = self.folder / "elsewhere" / "identity.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# public key: {self.identity.to_public()}\n{self.identity}\n")
        path.chmod(0o600)
        return path

    def key_file(self) -> Path:
        """A copy of the master key that is kept apart."""
        path = self.folder / "elsewhere" / "master.key"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            shutil.copy(self.layout.master_key, path)
            path.chmod(0o600)
        return path


def furnish(layout: DataLayout) -> None:
    """Credentials, rules, web, entries, a gateway with a chat and a session, and both files of settings."""
    if not layout.master_key.exists():
        create_master_key(layout, lambda _length: KEY)
    asyncio.run(_furnish(layout))
    layout.gateway.mkdir(mode=0o700, parents=True)
    with sqlite3.connect(layout.gateway_database) as connection:
        connection.execute("CREATE TABLE chats (title TEXT)")
        connection.execute("CREATE TABLE sessions (digest TEXT)")
        connection.execute("CREATE TABLE links (digest TEXT)")
        connection.execute("INSERT INTO chats VALUES ('about moss')")
        connection.execute("INSERT INTO sessions VALUES ('one')")
        connection.execute("INSERT INTO links VALUES ('two')")
    connection.close()
    for path, text in ((layout.operator_file, "[egress]\nrequests_per_run = 7\n"), (layout.gateway_file, "# ours\n")):
        path.write_text(text)
        path.chmod(0o600)


async def _furnish(layout: DataLayout) -> None:
    vault = Vault.open(layout, KEY)
    recorder = await Recorder.open(layout.ledger, keys=partial(ledger_keys, vault))
    rules = EgressRules.open(vault.database, vault.keys)
    for number, service in enumerate(SERVICES):
        intent = await recorder.intent(Event.CREDENTIAL_STORED, principal="operator", subject=service)
        await vault.store(service, "", (binding_for(f"{service}.example"),), f"{SECRET}-{number}")
        await recorder.outcome(intent, outcome="ok")
    await rules.add(Method.GET, "https", "rule.example", 443)
    await rules.set_web(enabled=True)
    await recorder.close()
    vault.close()


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, to see whether anything changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", "-wal", "-shm"))
    }


def left_in(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(os.listdir(folder))


def record(layout: DataLayout, event: Event, details: dict[str, object]) -> None:
    """Put something on record as a proxy did that ran here."""

    async def write() -> None:
        with closing(Vault.open(layout, KEY)) as vault:
            recorder = await Recorder.open(layout.ledger, keys=partial(ledger_keys, vault))
            await recorder.fact(event, principal="operator", outcome="ok", details=details)
            await recorder.close()

    asyncio.run(write())
