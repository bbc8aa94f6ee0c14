"""The ledger's database made anew from its evidence: index and schema are derived, entries and checkpoints are not.

An index or a schema that was damaged or changed keeps a sound log from its start. Here the rows and the checkpoints are
read past both, walked as `mycelos.ledger.verify` says, and written into a new database, which is verified as a whole
before it has the old one's name. What does not hold is refused: so nobody makes a cut or a forged log good with it.

Killed at any point, the old database or the new one is in place, each whole; what else lies there the next run clears.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from mycelos.configuration.plain_file import demand_plain_database
from mycelos.ledger.entry import entry_from_row
from mycelos.ledger.merkle import Frontier
from mycelos.ledger.verify import Verdict, verify
from mycelos.proxy.backup.swap import sync_folder, sync_tree
from mycelos.proxy.ledger.bare_reader import BareReader
from mycelos.proxy.ledger.database import (
    BUSY_TIMEOUT,
    INSERT_NODE,
    KEEP_CHECKPOINT,
    LedgerError,
    begin,
    copy_back,
    demand_private,
    insert_entries,
    lies_there,
    open_for_writing,
)
from mycelos.proxy.ledger.last_signed import BLOCK, file_of, read_last_signed
from mycelos.proxy.ledger.stored_tree import STORED_LEVELS, TILE_HEIGHT
from mycelos.proxy.ledger.verification import Verified, not_in_its_tile, verify_ledger
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mycelos.ledger.verify import Evidence, Verification

AT_ONCE: Final = 10_000
"""Entries in one transaction of the new database."""
_WORK: Final = "ledger.rebuilding"
_BESIDE: Final = ("-wal", "-shm", "-journal")


class RebuildRefusedError(Exception):
    """What lies there does not hold, whatever index and schema are like. Nothing was changed."""

    def __init__(self, result: Verification) -> None:
        super().__init__(result.reason)
        self.result = result


@dataclass(frozen=True)
class Rebuilt:
    """What was done.

    Attributes:
        faults: what was wrong with index, schema and pages, each a clause.
        kept: the folder of the old files.
        result: what verification says of the new database.
    """

    faults: tuple[str, ...]
    kept: Path
    result: Verification


def draft_of(path: Path) -> Path:
    """Where the new database of the ledger at ``path`` is made."""
    return path.with_name(_WORK) / path.name


def rebuild(
    path: Path,
    remembered: Mapping[str, Evidence],
    *,
    weigh: Callable[[Verified], Verification],
    record: Callable[[Path, tuple[str, ...], int, str], None],
    progress: Callable[[int], None] = lambda _: None,
) -> Rebuilt | None:
    """Put a new database in the place of the one at ``path``, whose system is stopped and kept from starting.

    None, and nothing is changed, where nothing is wrong with index and schema.

    Args:
        path: the ledger.
        remembered: each keeper by its name, as for `verify_ledger`.
        weigh: asks the witnesses of the new database, and says what it comes to.
        record: puts it on record in the database that it is given: faults, the newest entry, the name of `kept`.
        progress: as for `verify_ledger`.

    Raises:
        RebuildRefusedError: the entries or what was signed do not hold.
        LedgerError: they cannot be read, or the new database is refused as a start would refuse it.
        sqlite3.Error, OSError: the disk refuses.
    """
    if lies_there(path):
        demand_private(path)
    work, draft = draft_of(path).parent, draft_of(path)
    if os.path.lexists(work):
        shutil.rmtree(work)
    last = read_last_signed(path)
    with BareReader(path) as old, old.snapshot():
        faults = old.derived_faults()
        if not faults:
            return None
        walked = _walked(old, last, remembered, progress)
        work.mkdir(mode=0o700)
        try:
            if last is not None:
                _write_new(file_of(draft), last.ljust(BLOCK, b"\0"))
            _copy_evidence(old, draft)
            result = weigh(verify_ledger(draft, remembered, progress=progress))
            _demand_same(walked, result, path)
            kept = _free_name(path)
            record(draft, faults, walked.head.seq, kept.name)
        except BaseException as error:
            shutil.rmtree(work)
            if not isinstance(error, LedgerError):
                raise
            # It is gone: what is wrong with it is so of the file that it was made from.
            message = str(error).replace(f"{work}{os.sep}", f"{path.parent}{os.sep}")
            raise LedgerError(message) from None
    try:
        _put_in_place(path, draft, kept)
    finally:
        shutil.rmtree(work)
    return Rebuilt(faults, kept, result)


def _walked(
    old: BareReader, last: bytes | None, remembered: Mapping[str, Evidence], progress: Callable[[int], None]
) -> Verification:
    result = verify(old.items(last or None), remembered, verifies, stored=old.readable_nodes(), progress=progress)
    misplaced = old.misplaced_checkpoint()
    if misplaced is not None:
        result = not_in_its_tile(result, misplaced)
    if result.verdict is Verdict.BROKEN:
        raise RebuildRefusedError(result)
    return result


def _demand_same(walked: Verification, made: Verification, path: Path) -> None:
    if made.verdict is Verdict.BROKEN:
        raise RebuildRefusedError(made)
    if (made.entries, made.head, made.root) != (walked.entries, walked.head, walked.root):
        message = f"{path} does not say the same twice; keep it as evidence"
        raise LedgerError(message)


def _copy_evidence(old: BareReader, draft: Path) -> None:
    connection = open_for_writing(draft)
    try:
        rows, tree = old.rows(), Frontier()
        while entries := [entry_from_row(row) for row in islice(rows, AT_ONCE)]:
            begin(connection, BUSY_TIMEOUT)
            insert_entries(connection, entries)
            for entry in entries:
                nodes = tree.append(bytes.fromhex(entry.leaf_hash))
                connection.executemany(INSERT_NODE, [node for node in nodes if node[0] in STORED_LEVELS])
            connection.execute("COMMIT")
            copy_back(connection)
        begin(connection, BUSY_TIMEOUT)
        kept = ((size >> TILE_HEIGHT, size, note) for size, note in old.checkpoints())
        connection.executemany(KEEP_CHECKPOINT, kept)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _put_in_place(path: Path, draft: Path, kept: Path) -> None:
    _demand_alone(draft)
    _keep(path, draft.with_name("kept"), kept)
    # With a log beside it the new database would be read as the old one's pages.
    _fold(path)
    _demand_alone(path)
    # Whoever still reads the old one shares the index of its log with nobody who opens the new one.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_tree(draft.parent)
    draft.replace(path)
    sync_folder(path.parent)


def _keep(path: Path, copies: Path, kept: Path) -> None:
    """Copy the old files, byte for byte, to where they stay."""
    copies.mkdir(mode=0o700)
    for source in (path, *(path.with_name(path.name + suffix) for suffix in _BESIDE), file_of(path)):
        if os.path.lexists(source):
            _copy_file(source, copies / source.name)
    sync_tree(copies)
    copies.rename(kept)
    sync_folder(kept.parent)


def _fold(path: Path) -> None:
    """Have SQLite take up what stands in the log of the old database, as its next start would."""
    if all(_size(path, suffix) == 0 for suffix in _BESIDE if suffix != "-shm"):
        return
    demand_plain_database(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        # A schema that SQLite cannot read is none of its log's fault.
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.close()


def _demand_alone(path: Path) -> None:
    for suffix in _BESIDE:
        if suffix != "-shm" and _size(path, suffix):
            message = f"{path}{suffix} cannot be taken into {path}; move it out of the folder, and keep it as evidence"
            raise LedgerError(message)


def _size(path: Path, suffix: str) -> int:
    try:
        return path.with_name(path.name + suffix).lstat().st_size
    except FileNotFoundError:
        return 0


def _free_name(path: Path) -> Path:
    name = f"{path.stem}.before-rebuild-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    place, number = path.with_name(name), 1
    while os.path.lexists(place):
        number += 1
        place = path.with_name(f"{name}-{number}")
    return place


def _write_new(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(data)


def _copy_file(source: Path, target: Path) -> None:
    reading = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    making = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        os.fdopen(os.open(source, reading), "rb") as stream,
        os.fdopen(os.open(target, making, 0o600), "wb") as copy,
    ):
        shutil.copyfileobj(stream, copy)
