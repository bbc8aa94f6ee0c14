"""V1, V2: what lies on the disk, and the key's file."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.prove.backups import attack_backups
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.database import Database
from mycelos.proxy.main import open_stores
from mycelos.proxy.vault import slots
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, read_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

_SEALED: Final = ("bindings", "label", "payload", "wrapped_key")
"""Columns of a stored credential that the seal must cover."""
_CLOSED: Final = "the vault does not open"


def probe_storage(_installation: Installation) -> list[Finding]:
    """V1: store and use a canary, search every file for it, then change the record, and try another key."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        answer = twin.use(f"http://127.0.0.1:{upstream.port}/bound/item")
        if answer.status != 200 or not any(twin.canary in text for text in upstream.requests):
            message = "the twin's credential could not be used, so nothing can be said of where it lies"
            raise CannotShowError(message)
        running = _files_with(twin.folder, twin.canary)
        twin.stop()
        stopped = _files_with(twin.folder, twin.canary)
        tried = "store a credential, use it, and search every file of the twin for it in every spelling"
        found = sorted({*running, *stopped})
        happened = f"found in {', '.join(found)}" if found else "found in none, running and stopped"
        return [Finding(tried, happened, held=not found), *_changed_records(twin), *_old_copies(twin), _other_key(twin)]


def probe_key_file(installation: Installation) -> list[Finding]:
    """V2: the key's file as it is here, making a key where one is, and a twin's backup, which holds none."""
    path = installation.layout.master_key
    tried = f"read {path.name} as another user would"
    try:
        status = path.lstat()
    except FileNotFoundError:
        message = f"there is no {path}; the key comes from the environment, or the system was never set up"
        raise CannotShowError(message) from None
    mode = stat.S_IMODE(status.st_mode)
    is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    findings = [
        Finding(tried, f"its mode is {mode:04o}", held=not mode & 0o077),
        Finding("find a link in its place, or another owner's file",
                f"{'a plain file' if is_plain else 'not a plain file with one name'} of user {status.st_uid}",
                held=is_plain and status.st_uid in {os.geteuid(), path.parent.stat().st_uid}),
    ]  # fmt: skip
    parent = stat.S_IMODE(path.parent.stat().st_mode)
    findings.append(
        Finding("put another file in its place as another user", f"the folder's mode is {parent:04o}",
                held=not parent & 0o022)
    )  # fmt: skip
    return [*findings, *_making_a_second_key(), *_rotating(), *attack_backups()]


def _files_with(folder: Path, canary: str) -> list[str]:
    forms = secret_forms(canary.encode())
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def _changed_records(twin: Twin) -> list[Finding]:
    return [
        Finding(f"change one bit of the stored record's {column}", happened, held)
        for column in _SEALED
        for happened, held in [_open_changed(twin, column)]
    ]


def _open_changed(twin: Twin, column: str) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="mycelos-twin-") as name:
        layout = DataLayout(Path(name))
        shutil.copytree(twin.layout.proxy, layout.proxy, ignore=shutil.ignore_patterns("*.sock"))
        connection = sqlite3.connect(layout.vault)
        (value,) = connection.execute(f"SELECT {column} FROM credential_versions").fetchone()  # noqa: S608 - our own
        changed = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else chr(ord(value[0]) ^ 1) + value[1:]
        connection.execute(f"UPDATE credential_versions SET {column} = ?", (changed,))  # noqa: S608 - our own
        connection.commit()
        connection.close()
        return _try_to_open(layout, read_master_key(twin.layout.master_key), twin.canary)


def _old_copies(twin: Twin) -> list[Finding]:
    return [
        Finding(f"put an old copy of the {name} beside the newest {other}", happened, held)
        for name, other in (("vault", "ledger"), ("ledger", "vault"))
        for happened, held in [_start_with_old(twin, name)]
    ]


def _start_with_old(twin: Twin, name: str) -> tuple[str, bool]:
    key = read_master_key(twin.layout.master_key)
    with tempfile.TemporaryDirectory(prefix="mycelos-twin-") as folder:
        layout, old = DataLayout(Path(folder)), Path(folder) / "old"
        for copy in (layout.proxy, old):
            shutil.copytree(twin.layout.proxy, copy, ignore=shutil.ignore_patterns("*.sock"))
        try:
            asyncio.run(_rotate_once(layout, key))
        except VaultError as error:
            return f"the newest copy does not start either: {error.detail}", False
        # Of the ledger with `ledger.signed`, which alone would tell.
        for path in layout.proxy.glob(f"{name}.*"):
            path.unlink()
        for path in old.glob(f"{name}.*"):
            shutil.copy2(path, layout.proxy)
        try:
            asyncio.run(_rotate_once(layout, key))
        except VaultError:
            return "the start is refused", True
    return "it starts as if nothing had happened", False


async def _rotate_once(layout: DataLayout, key: bytes) -> None:
    """Start, change the secret on record, stop."""
    async with AsyncExitStack() as stack:
        vault, recorder = await open_stores(layout, key, stack, {})
        intent = await recorder.intent(Event.CREDENTIAL_ROTATED, subject=SERVICE)
        await vault.rotate(SERVICE, f"canary-{os.urandom(16).hex()}")
        await recorder.outcome(intent, outcome="ok", details=vault.state.anchor_details())


def _other_key(twin: Twin) -> Finding:
    happened, held = _try_to_open(twin.layout, os.urandom(32), twin.canary)
    return Finding("open the vault with another key", happened, held)


def _try_to_open(layout: DataLayout, key: bytes, canary: str) -> tuple[str, bool]:
    """What came of opening the credential, and whether it stayed closed."""
    try:
        vault = Vault.open(layout, key)
    except VaultError:
        return _CLOSED, True
    try:
        credential = vault.find(SERVICE)
        if credential is None:
            return "the record is not taken for a credential", True
        with vault.open_secret(credential) as secret:
            return "it opened", secret.reveal() != canary.encode()
    except Refusal as refusal:
        return f"refused ({refusal.problem.code.value})", True
    finally:
        vault.close()


def _rotating() -> list[Finding]:
    """A twin whose master key is changed while it runs: what the old key and the new one open afterwards."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        old = read_master_key(twin.layout.master_key)
        twin.operator.rotate_key(None)
        status = twin.use(f"http://127.0.0.1:{upstream.port}/bound/item").status
        twin.stop()
        new = read_master_key(twin.layout.master_key)
        # A slot that the old key still opens gives the root away, whatever else then stays closed.
        is_left = Database.look(twin.layout.vault, lambda connection: slots.opens(connection, old))
        with_old, _ = _try_to_open(twin.layout, old, twin.canary)
        with_new, stayed_closed = _try_to_open(twin.layout, new, twin.canary)
    return [
        Finding("change the master key (in a twin) and open the vault with the old one",
                "it opens a key slot that was left" if is_left else with_old,
                held=old != new and not is_left and with_old == _CLOSED),
        Finding("use a credential right after, and open it with the new key",
                f"the request ended with status {status}; with the new key: {with_new}",
                held=status == 200 and not stayed_closed),
    ]  # fmt: skip


def _making_a_second_key() -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="mycelos-twin-") as name:
        layout = DataLayout(Path(name))
        first = create_master_key(layout).read_bytes()
        mode = stat.S_IMODE(layout.master_key.stat().st_mode)
        try:
            create_master_key(layout)
            happened = "a second one was made"
        except VaultError:
            happened = "refused"
        kept = layout.master_key.read_bytes() == first
        return [
            Finding("make a key (in a twin) and look at its file", f"its mode is {mode:04o}", held=mode == 0o600),
            Finding("make a key where one is", f"{happened}; the first is {'kept' if kept else 'lost'}",
                    held=kept and happened == "refused"),
        ]  # fmt: skip
