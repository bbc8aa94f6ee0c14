"""The witnesses as the settings name them, each held against the ledger before anything is written there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.plain_file import read_plain_file
from mycelos.configuration.witness import VKEY_KEY
from mycelos.ledger.signed_note import NOTE_LIMIT
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.witness.file_witness import FileWitness, demand_file_prefix
from mycelos.proxy.witness.keeper import FILE_SECONDS, URL_SECONDS, WitnessKeeper
from mycelos.proxy.witness.last_set import LastSet, LastSetError, LastSetKeeper, read_last_set
from mycelos.proxy.witness.log import FaultCode, WitnessFault, demand_prefix
from mycelos.proxy.witness.remembered import CosignedKeeper, cosigned_file
from mycelos.proxy.witness.url_witness import Post, UrlWitness, known_size, parse_witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mycelos.configuration.witness import WitnessSettings
    from mycelos.proxy.ledger.heads import Outside
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.witness.log import LogView

_log = logging.getLogger(__name__)


async def open_witnesses(
    settings: WitnessSettings,
    log: LogView,
    recorder: Recorder,
    *,
    outside: Outside | None,
    post: Post,
    is_locked: Callable[[], bool],
) -> tuple[WitnessKeeper, ...]:
    """The keeper of each witness that is set. A witness with a URL is not waited for.

    Whether they agree, `demand_agreement` has asked before.

    Raises:
        ConfigurationError: URL or key cannot be used.
    """
    before = _last_set(outside)
    if unset := before.unset(settings):
        _log.warning("the last start had the witness %s, and it is not set now", " and ".join(unset))
    last = LastSetKeeper(outside, before.after(settings))
    keepers = []
    if settings.file is not None:
        is_begun = before.after(settings).given > 0 or _has_bytes(settings.file)
        file = FileWitness(settings.file, log, last.given, given=is_begun)
        keepers.append(WitnessKeeper(file, log, recorder, seconds=FILE_SECONDS, is_locked=is_locked))
    if settings.url is not None:
        url, key = parse_witness(settings.url, settings.url_name, settings.key, VKEY_KEY)
        if key is None:
            _log.warning("%s is not set: what the witness at %s answers is not verified", VKEY_KEY, url)
        kept = None if outside is None else _cosigned(cosigned_file(outside))
        witness = UrlWitness(url, key, log, post, CosignedKeeper(outside).keep, known=known_size(kept, key))
        keepers.append(WitnessKeeper(witness, log, recorder, seconds=URL_SECONDS, is_locked=is_locked))
    await last.write()
    return tuple(keepers)


async def demand_agreement(settings: WitnessSettings, log: LogView, outside: Outside | None) -> None:
    """That the ledger begins with what the witnesses on this machine remember. Asked before anything is written to it.

    Raises:
        ConfigurationError: the file cannot be used.
        LedgerError: the ledger does not begin with what the file, or the kept cosignature, remembers; or of what the
            file was given something is missing.
    """
    # Also where no URL is set any more: what was cosigned once stays evidence.
    if outside is not None and (kept := _cosigned(cosigned_file(outside))) is not None:
        await _demand_cosigned(cosigned_file(outside), kept, log)
    if settings.file is not None:
        newest = await _demand_file(settings.file, settings.file_name, log)
        missing = _last_set(outside).missing(settings.file, newest)
        if missing is not None:
            message = (
                f"{missing}. Put it back, or mount what it lies on. If it is gone for good: find out who took it away, "
                f"run mycelos db audit verify, and name a new file in {settings.file_name}"
            )
            raise LedgerError(message)


def _last_set(outside: Outside | None) -> LastSet:
    try:
        return read_last_set(outside)
    except LastSetError as error:
        _log.warning("%s: whether a witness was taken away is not known", error)
        return LastSet()


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


async def _demand_file(path: Path, name: str, log: LogView) -> int | None:
    if not path.parent.is_dir():
        message = f"{name}: there is no folder {path.parent}; make it, or mount what it lies on"
        raise ConfigurationError(message)
    try:
        return await demand_file_prefix(path, log)
    except WitnessFault as fault:
        if fault.code is FaultCode.UNREACHABLE:
            message = f"{name}: {path}: {fault}; it must be a plain file that this user may read and write"
            raise ConfigurationError(message) from None
        _refuse(path, fault, f"name a new file in {name}")


def _cosigned(path: Path) -> bytes | None:
    try:
        return read_plain_file(path, NOTE_LIMIT)
    except FileNotFoundError:
        return None
    except OSError:
        _log.warning("%s cannot be read: what was cosigned is not compared with", path)
        return None


async def _demand_cosigned(path: Path, note: bytes, log: LogView) -> None:
    try:
        await demand_prefix(log, note)
    except WitnessFault as fault:
        _refuse(path, fault, f"move {path} away")


def _refuse(path: Path, fault: WitnessFault, way_out: str) -> NoReturn:
    message = (
        f"the ledger does not fit what {path} remembers of it: {fault}. Keep both as evidence and find out what "
        f"happened. If this is an older copy on purpose (a restore, or mycelos backup adopt): {way_out}"
    )
    raise LedgerError(message)
