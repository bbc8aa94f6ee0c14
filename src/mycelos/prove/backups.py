"""V2, its second half: a backup of a twin, searched for the key, and restored: nothing of it may be usable at once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.backup import create, sealing
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.restore import Key, restore
from mycelos.proxy.vault.keys import read_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

HOLDS_KEY: Final = "find the master key in what a backup decrypts to, in every spelling"
HOLDS_CREDENTIAL: Final = "find the stored credential there"
NOT_PARKED: Final = "restore a backup and use its credential without the operator's word"
WRONG_KEY: Final = "restore a backup with another master key"


def attack_backups() -> list[Finding]:
    """Back up a running twin, look through what is in the file, and restore it beside."""
    with (
        Upstream() as upstream,
        Twin(upstream.port) as twin,
        tempfile.TemporaryDirectory(prefix="mycelos-twin-") as name,
    ):
        folder = Path(name)
        recipient = sealing.new_identity(folder / "identity")
        identities = sealing.read_identities(folder / "identity")
        try:
            made = create.create(
                twin.layout, [recipient], folder / "twin.age", record=lambda _made: None, progress=_unwatched
            )
        except BackupError as error:
            message = f"no backup could be made: {error}"
            raise CannotShowError(message) from None
        key = read_master_key(twin.layout.master_key)
        content = _decrypted(made.path, identities, folder / "plain")
        return [
            _search(HOLDS_KEY, content, [key, twin.layout.master_key.read_bytes().strip()]),
            _search(HOLDS_CREDENTIAL, content, [twin.canary.encode()]),
            _restore_with_another_key(made.path, identities, DataLayout(folder / "other")),
            _restore_and_use(made.path, identities, DataLayout(folder / "restored"), key),
        ]


def _decrypted(path: Path, identities: list[Identity], target: Path) -> bytes:
    with target.open("xb") as stream:
        sealing.unseal(path, stream.fileno(), identities, lambda _count: None)
    content = target.read_bytes()
    if SERVICE.encode() not in content:
        message = "the backup does not hold the twin's vault, so nothing can be said of what else it holds"
        raise CannotShowError(message)
    return content


def _search(tried: str, content: bytes, secrets: list[bytes]) -> Finding:
    held = not any(form in content for secret in secrets for form in secret_forms(secret))
    return Finding(tried, "it is not there" if held else "it is there", held)


def _restore_with_another_key(path: Path, identities: list[Identity], layout: DataLayout) -> Finding:
    try:
        _restore(path, identities, layout, bytes(32))
    except BackupError as error:
        return Finding(WRONG_KEY, error.detail, held=not layout.root.exists())
    return Finding(WRONG_KEY, "it was restored", held=False)


def _restore_and_use(path: Path, identities: list[Identity], layout: DataLayout, key: bytes) -> Finding:
    try:
        _restore(path, identities, layout, key)
    except BackupError as error:
        message = f"the backup could not be restored: {error}"
        raise CannotShowError(message) from None
    vault = Vault.open(layout, key)
    try:
        credential = next(one for one in vault.list() if one.service == SERVICE)
        with vault.open_secret(credential):
            return Finding(NOT_PARKED, "it opened", held=False)
    except Refusal as refusal:
        return Finding(NOT_PARKED, f"refused ({refusal.problem.code.value})", held=True)
    finally:
        vault.close()


def _restore(path: Path, identities: list[Identity], layout: DataLayout, key: bytes) -> None:
    restore(
        path,
        identities,
        layout,
        Key(key, keep=True),
        furnish=lambda _layout: None,
        step=lambda _name: None,
        progress=_unwatched,
    )


def _unwatched(_what: str, _done: float) -> None:
    """Nobody watches."""
