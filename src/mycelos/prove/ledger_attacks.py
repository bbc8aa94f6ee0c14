"""L2: what somebody without its key can do to a ledger's files, done to a copy of them; each must be located.

`docs/security/ledger-attacks.md` lists these and what needs the key.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import Head, seal
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.verify import RememberedNote
from mycelos.prove.ledger_copy import LedgerCopy, forge_index, put_signed, unguarded
from mycelos.prove.outcome import Finding
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.last_signed import file_of
from mycelos.proxy.ledger.rare_index import INDEX, RARE
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

COPIED: Final = 1000
"""Entries of the copy at most: it ends with a checkpoint that is kept."""
SHORTEST: Final = 4
_TILE: Final = 256
_ANOTHER_GUARD: Final = "CREATE TRIGGER another BEFORE DELETE ON audit_events BEGIN SELECT RAISE(IGNORE); END"


@dataclass(frozen=True)
class _Attack:
    """``does`` is given what the files held, and where they lie; ``located`` is the entry that must be named."""

    what: str
    does: Callable[[LedgerCopy, Path], None]
    located: int


def attack_copy(ledger: Path) -> list[Finding]:
    """Attack a copy of the ledger at ``ledger``; nothing where it is too short to be attacked.

    Raises:
        LedgerError, sqlite3.Error, OSError: the ledger cannot be read, or the copy not be written.
    """
    copy = LedgerCopy.read(ledger, COPIED)
    size = len(copy.entries)
    if size < SHORTEST:
        return []
    remembered = RememberedNote(copy.notes[size].encode())
    with tempfile.TemporaryDirectory(prefix="mycelos-copy-") as name:
        path = Path(name) / "ledger.sqlite"
        copy.write(path)
        sound = {one: one.read_bytes() for one in (path, file_of(path))}
        found = []
        for attack in (_Attack("change nothing", lambda _copy, _path: None, -1), *_attacks(copy)):
            for one, data in sound.items():
                one.write_bytes(data)
            attack.does(deepcopy(copy), path)
            found.append(_located(attack, path, remembered))
        return found


def _located(attack: _Attack, path: Path, remembered: RememberedNote) -> Finding:
    tried = f"{attack.what} in a copy"
    try:
        fault = verify_ledger(path, {"this probe": remembered}).result.fault
    except LedgerError as error:
        return Finding(tried, str(error), held=False)
    if fault is None:
        return Finding(tried, "no fault was found", held=attack.located == -1)
    return Finding(tried, f"entry {fault.seq}: {fault.what}", held=fault.seq == attack.located)


def _attacks(copy: LedgerCopy) -> list[_Attack]:
    size = len(copy.entries)
    place = size // 2
    covering = min(at for at in copy.notes if at > place)
    before = max((at for at in copy.notes if at < size), default=0)
    found = [
        _Attack("edit an entry", _with_sql("UPDATE audit_events SET outcome = 'x' || outcome WHERE seq = ?", place),
                place),
        _Attack("edit an entry and compute chain and tree anew", _written(_edit), covering - 1),
        _Attack("delete an entry", _with_sql("DELETE FROM audit_events WHERE seq = ?", place), place),
        _Attack("insert an entry", _written(_insert), place),
        _Attack("exchange two entries", _written(_exchange), place),
        _Attack("append an entry", _written(_append), size),
        _Attack("cut the end off", _written(_cut_half), place),
        _Attack("cut the end off with its checkpoints", _written(_cut_to(before)), before),
        _Attack("write everything anew", _written(_rewrite), size - 1),
        _Attack("change the newest checkpoint", _written(_change_note), size - 1),
        _Attack("take the newest checkpoint away", _with_sql("DELETE FROM checkpoints WHERE size = ?", size), size - 1),
        _Attack("change ledger.signed", lambda one, path: put_signed(path, _changed(one.signed)), size - 1),
        _Attack("take ledger.signed away", lambda _one, path: file_of(path).unlink(), size - 1),
        _Attack("make another guard", _with_sql(_ANOTHER_GUARD), size - 1),
    ]  # fmt: skip
    rare = [entry.seq for entry in copy.entries if entry.event in RARE]
    if rare:
        leave_out = partial(_leave_out_of_index, rare[-1])
        found.append(_Attack("leave an entry out of the index", leave_out, rare[-1]))
    if size >= _TILE:
        change = "UPDATE tree_nodes SET hash = zeroblob(32) WHERE level = 8 AND place = 0"
        found.append(_Attack("change a hash of the stored tree", _with_sql(change), _TILE - 1))
    return found


def _leave_out_of_index(seq: int, _copy: LedgerCopy, path: Path) -> None:
    is_rare = INDEX.partition(" WHERE ")[2]
    forge_index(path, where=f"{is_rare} AND seq <> {seq}")


def _with_sql(statement: str, *values: int) -> Callable[[LedgerCopy, Path], None]:
    def does(_copy: LedgerCopy, path: Path) -> None:
        with unguarded(path) as connection:
            connection.execute(statement, values)

    return does


def _written(change: Callable[[LedgerCopy], None]) -> Callable[[LedgerCopy, Path], None]:
    def does(copy: LedgerCopy, path: Path) -> None:
        change(copy)
        copy.write(path)

    return does


def _edit(copy: LedgerCopy) -> None:
    place = len(copy.entries) // 2
    copy.entries[place] = copy.entries[place]._replace(outcome="tampered")
    copy.link()


def _insert(copy: LedgerCopy) -> None:
    place = len(copy.entries) // 2
    copy.entries.insert(place, copy.entries[0])
    copy.entries = [entry._replace(seq=seq) for seq, entry in enumerate(copy.entries)]


def _exchange(copy: LedgerCopy) -> None:
    place = len(copy.entries) // 2
    one, other = copy.entries[place : place + 2]
    copy.entries[place : place + 2] = [other._replace(seq=place), one._replace(seq=place + 1)]


def _append(copy: LedgerCopy) -> None:
    last = copy.entries[-1]
    draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT, run="tampered")
    copy.entries.append(seal(draft, Head(last.seq, last.leaf_hash), last.epoch, last.at, last.mono))


def _cut_half(copy: LedgerCopy) -> None:
    del copy.entries[len(copy.entries) // 2 :]


def _cut_to(size: int) -> Callable[[LedgerCopy], None]:
    def cut(copy: LedgerCopy) -> None:
        copy.cut(size)
        copy.signed = copy.notes.get(size, "")

    return cut


def _rewrite(copy: LedgerCopy) -> None:
    _edit(copy)
    copy.notes, copy.signed = {}, ""


def _change_note(copy: LedgerCopy) -> None:
    # In both places where it stands.
    copy.signed = copy.notes[len(copy.entries)] = _changed(copy.signed)


def _changed(note: str) -> str:
    """Another signature."""
    return f"{note[:-9]}{'A' if note[-9] != 'A' else 'B'}{note[-8:]}"
