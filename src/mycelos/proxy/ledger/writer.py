"""The one writer: a thread that takes whatever waits, writes and signs it in one transaction, and says so.

It groups what waits and never waits to group. When a group cannot be written, every append in it is refused, and the
next group tries again with a fresh connection: the writer recovers when the disk does.

Waking a thread and being woken by it takes about as long as a quick disk takes to sync. So an append that is alone may
be written on the thread of whoever brings it (`LedgerWriter.write_now`), while the writer's own is held.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import EMPTY, Head, seal
from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.entry import EntryError, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import Frontier
from mycelos.ledger.unsigned import LIMIT
from mycelos.proxy.ledger.checkpoint_rows import newest_checkpoint
from mycelos.proxy.ledger.clock import Moment, last_moment, read_clock, step_between
from mycelos.proxy.ledger.database import (
    BUSY_TIMEOUT,
    INSERT_NODE,
    KEEP_CHECKPOINT,
    PAGE,
    LedgerError,
    LockedError,
    begin,
    copy_back,
    insert_entries,
    open_for_writing,
)
from mycelos.proxy.ledger.last_signed import LastSigned
from mycelos.proxy.ledger.opening import alive_while_opening
from mycelos.proxy.ledger.queue import Append, AppendQueue
from mycelos.proxy.ledger.stored_tree import STORED_LEVELS, TILE_HEIGHT, StoredTree
from mycelos.proxy.ledger.vault_word import VaultWord
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mycelos.ledger.entry import Draft, Entry
    from mycelos.ledger.signed_note import Sign, VerifierKey

LOG_PAGES: Final = 4000
"""Pages of the write-ahead log (16 MiB), about, after which they are copied into the database. What comes meanwhile
waits: with SQLite's own 1000 this would be more than one append in a hundred of a flood."""

_GROUP_PAGES: Final = 2
"""Pages that even the smallest group changes: the entries' last one and the checkpoint's."""

QUICK: Final = 0.001
"""Seconds that groups take of late, at most, where the next append may be written on its bringer's thread: so long the
event loop may stand still for the disk."""

_SLOW: Final = 1.0
_NEWEST_SHARE: Final = 0.125
"""What the newest group counts for in how long groups take of late: one that took a second is forgotten after fifty
quick ones."""

_LAST: Final = "SELECT seq, leaf_hash FROM audit_events ORDER BY seq DESC LIMIT 1"
_LAST_LIFE: Final = "SELECT epoch, at FROM audit_events ORDER BY seq DESC LIMIT 1"


class WriteError(Exception):
    """The group is not on disk. The text says why, for a person; nothing of it may be taken as done."""


class NoRoomError(WriteError):
    """With the group more would stand there without a signature than any start takes up."""


Result = list["Entry"] | WriteError | EntryError
"""The entries that an append became, or why there are none."""

Results = list[tuple[Append, Result]]

_FAILURES: Final = (WriteError, LedgerError, sqlite3.Error, OSError)


class LedgerWriter:
    """Owns the database's only writing connection. ``submit`` may be called from any thread.

    ``deliver`` is called on the writer's thread, once for each group, with every append of the group and its result.
    """

    def __init__(
        self,
        path: Path,
        deliver: Callable[[Results], None],
        clock: Callable[[], Moment] = read_clock,
        alive: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._deliver = deliver
        self._clock = clock
        self._queue = AppendQueue()
        # What a killed process left in the write-ahead log may be long: read and copied before anybody waits for it.
        with alive_while_opening(path, alive):
            connection = open_for_writing(path)
            try:
                self._log_pages = copy_back(connection)
            except sqlite3.Error:
                # With the first group anew: a disk that is full keeps no proxy from starting.
                self._log_pages = LOG_PAGES
        self._connection: sqlite3.Connection | None = connection
        self._last_signed: LastSigned
        self._signer: tuple[VerifierKey, Sign] | None = None
        try:
            self._identity = self._file_identity()
            self._head = self._read_head(self._connection)
            self._tree = Frontier.of(self._head.seq + 1, StoredTree(self._connection, path).node)
            found = newest_checkpoint(self._connection, path)
            row = self._connection.execute(_LAST_LIFE).fetchone()
        except BaseException:
            self._disconnect()
            raise
        self._checkpoint = None if found is None else found[1]
        self._word = VaultWord()
        # After a commit that failed, the log may end here as well: the error can come after the data.
        self._maybe_head, self._maybe_word = self._head, self._word
        self._epoch = int(row[0]) + 1 if row else 0
        self._began = clock()
        # While nothing ran, the time of day may have been set back.
        self._last_moment = last_moment(row[1], self._began) if row else self._began
        self._pace = _SLOW
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    @property
    def epoch(self) -> int:
        """The number of this life of the writer."""
        return self._epoch

    @property
    def head(self) -> Head:
        """The newest entry that is on disk."""
        return self._head

    @property
    def checkpoint(self) -> str | None:
        """The newest signed checkpoint, which is on disk; None where none was ever signed."""
        return self._checkpoint

    def sign_with(self, key: VerifierKey, sign: Sign) -> None:
        """Sign each group from the next one on. ``key`` bears the log's origin as its name."""
        self._signer = (key, sign)

    def start(self) -> None:
        """Begin to write.

        Raises:
            OSError: the file of the last signed checkpoint cannot be made or written.
        """
        # Not earlier: it would make the file, and that it is gone would not show.
        self._last_signed = LastSigned.open(self._path)
        self._thread.start()

    def submit(self, append: Append) -> None:
        """Queue ``append``; it is delivered when it is durable or refused.

        Raises:
            QueueFullError: too much waits already, or the writer is closed.
        """
        self._queue.put(append)

    def write_now(self, append: Append) -> Results | None:
        """Write ``append`` on this thread, which the disk blocks meanwhile, and not through ``deliver``.

        None, and nothing is written, where it should be submitted: something else waits or is being written, somebody
        holds the database's lock, it is time to copy the write-ahead log, or the disk was not quick of late.
        """
        is_ready = self._connection is not None and self._log_pages < LOG_PAGES
        if self._pace >= QUICK or not is_ready or not self._queue.claim():
            return None
        try:
            return self._write([append], 0.0)
        except LockedError:
            return None
        except _FAILURES as error:
            return self._refusals([append], error)
        except BaseException:
            # Of something unforeseen the writer ends, as its own thread would.
            self._queue.close()
            raise
        finally:
            self._queue.release()

    def close(self) -> None:
        """Write what waits, then close the file. Blocks for both."""
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join()
            self._last_signed.close()
        self._disconnect()

    def _run(self) -> None:
        group: list[Append] = []
        try:
            while group := self._queue.take_group():
                try:
                    results = self._write(group, BUSY_TIMEOUT)
                except _FAILURES as error:
                    results = self._refusals(group, error)
                group = []
                self._deliver(results)
                self._copy_back()
        finally:
            # Should this thread ever die of something unforeseen, nobody is left waiting for it.
            self._queue.close()
            left = list(group)
            while more := self._queue.take_group():
                left += more
            if left:
                self._deliver([(append, WriteError("the ledger's writer has ended")) for append in left])

    def _write(self, group: list[Append], patience: float) -> Results:
        began = time.perf_counter()
        connection = self._connect()
        moment = self._clock()
        at, mono = moment.at, round((moment.monotonic - self._began.monotonic) * 1_000_000)
        own = (*self._step_drafts(moment), *self._word.drafts())
        entries, head = _sealed(own, self._head, self._epoch, at, mono)
        results: Results = []
        for append in group:
            try:
                sealed, head = _sealed(append.drafts, head, self._epoch, at, mono)
            except EntryError as error:
                results.append((append, error))
            else:
                entries += sealed
                results.append((append, sealed))
        if entries:
            if self._signer is None:
                _demand_room(connection, self._path, head)
            begin(connection, patience)
            self._commit(connection, entries, head)
            self._log_pages += _GROUP_PAGES + sum([append.weight for append in group]) // PAGE
        self._last_moment = moment
        self._pace += (time.perf_counter() - began - self._pace) * _NEWEST_SHARE
        return results

    def _refusals(self, group: list[Append], error: Exception) -> Results:
        self._disconnect()
        self._pace = _SLOW
        refusal = WriteError(f"the ledger cannot be written: {_plain(error)}")
        if isinstance(error, NoRoomError):
            refusal = error
        return [(append, refusal) for append in group]

    def _copy_back(self) -> None:
        if self._log_pages < LOG_PAGES or self._connection is None:
            return
        try:
            self._log_pages = copy_back(self._connection)
        except sqlite3.Error:
            # What is written stays where it is, in the write-ahead log; the next group tries again or is refused.
            self._disconnect()

    def _commit(self, connection: sqlite3.Connection, entries: list[Entry], head: Head) -> None:
        tree = self._tree.copy()
        size = tree.size
        levels = tree.extend([bytes.fromhex(entry.leaf_hash) for entry in entries])
        word = self._word.after(entries)
        self._maybe_head, self._maybe_word = head, word
        insert_entries(connection, entries)
        for level in STORED_LEVELS.intersection(range(len(levels))):
            nodes = [(level, place, found) for place, found in enumerate(levels[level], size >> level)]
            connection.executemany(INSERT_NODE, nodes)
        note = self._sign(tree)
        if note is not None:
            connection.execute(KEEP_CHECKPOINT, (tree.size >> TILE_HEIGHT, tree.size, note))
        connection.execute("COMMIT")
        if note is not None:
            # After the commit, so that it is never ahead of the tree, and before anybody hears of the group.
            self._last_signed.write(note)
            self._checkpoint = note
        self._head, self._tree, self._word = head, tree, word

    def _sign(self, tree: Frontier) -> str | None:
        if self._signer is None:
            return None
        key, _ = self._signer
        return str(Checkpoint(key.name, tree.size, tree.root()).signed([self._signer]))

    def _step_drafts(self, moment: Moment) -> tuple[Draft, ...]:
        step = step_between(self._last_moment, moment)
        if not step:
            return ()
        details = {"step_ms": round(step * 1000)}
        return (make_draft(Event.CLOCK_STEPPED, Phase.FACT, tenant=DEFAULT_TENANT, details=details),)

    def _connect(self) -> sqlite3.Connection:
        if self._file_identity() != self._identity:
            message = "the file was replaced while it was in use; stop the system and run mycelos db audit verify"
            raise WriteError(message)
        if self._connection is None:
            connection = open_for_writing(self._path)
            found = self._read_head(connection)
            if found not in {self._head, self._maybe_head}:
                connection.close()
                message = "somebody else wrote to it; stop the system and run mycelos db audit verify"
                raise WriteError(message)
            self._tree = Frontier.of(found.seq + 1, StoredTree(connection, self._path).node)
            if found != self._head:
                self._word = self._maybe_word
            self._head = found
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _file_identity(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_dev, status.st_ino

    @staticmethod
    def _read_head(connection: sqlite3.Connection) -> Head:
        row = connection.execute(_LAST).fetchone()
        return Head(int(row[0]), str(row[1])) if row else EMPTY


def _sealed(drafts: tuple[Draft, ...], head: Head, epoch: int, at: str, mono: int) -> tuple[list[Entry], Head]:
    sealed = []
    for draft in drafts:
        entry = seal(draft, head, epoch, at, mono)
        head = Head(entry.seq, entry.leaf_hash)
        sealed.append(entry)
    return sealed, head


def _demand_room(connection: sqlite3.Connection, path: Path, head: Head) -> None:
    """Without a key the log may not grow past what `mycelos.ledger.unsigned` lets a start take up.

    Raises:
        NoRoomError: up to ``head`` it would.
    """
    newest = newest_checkpoint(connection, path)
    if head.seq + 1 - (0 if newest is None else newest[0]) > LIMIT:
        message = f"{LIMIT:,} entries of the ledger at most may wait for a start that signs them"
        raise NoRoomError(message)


def _plain(error: Exception) -> str:
    if isinstance(error, WriteError | LedgerError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorname", "") or "the database refused"
    return f"operating system error {getattr(error, 'errno', None)}"
