"""The vault's state: a generation and a digest over every row that decides anything, under a MAC.

A row's seal or MAC says that Mycelos wrote it. The state says that it is the newest, and that none is missing. No
writer calls this module: TEMP triggers name each changed row, and `Database` settles them before each commit.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from mycelos.ledger.canonical import CanonicalError, canonical
from mycelos.proxy.changes import change_one, remove_all
from mycelos.proxy.tables import METADATA, REVISIONS, VAULT_STATE, WRAPPED_KEYS
from mycelos.proxy.vault.current_keys import CurrentKeys
from mycelos.proxy.vault.errors import VaultError
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.problems import ProblemCode, Refusal

TABLES: Final = tuple(table for table in METADATA.sorted_tables if table not in {REVISIONS, VAULT_STATE})
"""Every table whose rows decide something. One that is added later is among them."""

OUTSIDE: Final[Mapping[str, frozenset[str]]] = {
    # Moved by each use, and deciding nothing that an older value would open.
    "credentials": frozenset({"last_used_at"}),
    # Counts up at each wrap, whose row is counted itself.
    "key_slots": frozenset({"wraps"}),
    # Moved by each sign-in; the counter stands under the row's own MAC, which therefore moves with it.
    "passkeys": frozenset({"last_used_at", "sign_count", "row_mac"}),
}
"""Columns that the digest leaves out."""

_GENERATION_LIMIT: Final = 2**53 - 1
"""The largest integer that JSON can be trusted with."""
_FORMAT: Final = b"mycelos/vault-state/1\x00"
_ROW_FORMAT: Final = "mycelos/state-row/1"
_CHANGED: Final = "temp.changed_rows"
_ADOPT: Final = "Put back a sound copy of the data folder; to take what is there for a restore: mycelos backup adopt"

_is_announced: ContextVar[bool] = ContextVar("a change of the vault is on record", default=False)

Place = tuple[str, int]
"""A table, and SQLite's own number of a row in it."""


@contextmanager
def announced() -> Iterator[None]:
    """Inside the block, changes of the vault are on record: their intent is, and their outcome will hold the anchor.

    A lockdown says so as well, which does not wait for the ledger.
    """
    token = _is_announced.set(True)
    try:
        yield
    finally:
        _is_announced.reset(token)


@dataclass(frozen=True)
class Anchor:
    """What the ledger keeps of the vault: how often it has changed, and the digest of what it holds, in hex."""

    generation: int
    digest: str

    def details(self) -> dict[str, Any]:
        """The fields of an entry that carries this anchor."""
        return {"vault_generation": self.generation, "vault_digest": self.digest}


@dataclass(frozen=True)
class Step:
    """A change of the state that takes hold once its transaction is durable."""

    anchor: Anchor
    changed: Mapping[Place, bytes | None] = field(repr=False)
    ordered: list[bytes] = field(repr=False)


class VaultState:
    """The state of one open vault, in memory and in its row. Made by `open`, handed to `Database.watch`."""

    def __init__(self, keys: CurrentKeys, generation: int, rows: dict[Place, bytes]) -> None:
        self.keys = keys
        self._rows = rows
        self._is_served = False
        self._ordered = sorted(rows.values())
        self.anchor = Anchor(generation, digest_of(self._ordered))

    @classmethod
    def open(cls, connection: sa.Connection, keys: CurrentKeys, *, is_new: bool, adopt: bool = False) -> VaultState:
        """Read every row and hold it against the state that was written last.

        Args:
            connection: the vault's, in a transaction.
            keys: those of the slot in use.
            is_new: the vault was made in this transaction.
            adopt: take what is there for the state, whatever was written.

        Raises:
            VaultError: a row was altered, removed or put back outside Mycelos; nothing is written.
        """
        state = cls(keys, 0, _read_rows(connection))
        stored = _read_state(connection, keys)
        if adopt or (is_new and not stored):
            state.anchor = Anchor(max((anchor.generation for anchor, _ in stored), default=0) + 1, state.anchor.digest)
            _write(connection, keys, state.anchor)
        else:
            state.anchor = _demand_same(stored, state.anchor.digest)
        _watch_tables(connection)
        return state

    def anchor_details(self) -> dict[str, Any]:
        """What an entry that is written now says of the vault."""
        return self.anchor.details()

    def demand_announced(self) -> None:
        """From here on, a change outside of `announced` is refused: the next start would take it for a cut ledger."""
        self._is_served = True

    def settle(self, connection: sa.Connection) -> Step | None:
        """Write the state that the transaction comes to; None where it changed nothing that decides.

        Raises:
            VaultError: a row that was written has no canonical form.
            Refusal: `vault_unavailable`; nobody has put the change on record.
        """
        touched = connection.exec_driver_sql(f"SELECT DISTINCT tbl, row FROM {_CHANGED}").all()  # noqa: S608 - constant
        changed: dict[Place, bytes | None] = dict.fromkeys(place for place in map(tuple, touched))
        if changed:
            for table in TABLES:
                if any(place[0] == table.name for place in changed):
                    changed.update(_row_digests(connection, table, only_changed=True))
            connection.exec_driver_sql(f"DELETE FROM {_CHANGED}")  # noqa: S608 - constant
        changed = {place: digest for place, digest in changed.items() if self._rows.get(place) != digest}
        if not changed:
            return None
        if self._is_served and not _is_announced.get():
            raise Refusal(
                ProblemCode.VAULT_UNAVAILABLE,
                "A change of the vault that is not on record was refused.",
                "This is a fault of Mycelos: please report what was done.",
            )
        ordered = self._replaced(changed)
        anchor = Anchor(self.anchor.generation + 1, digest_of(ordered))
        _write(connection, self.keys, anchor)
        return Step(anchor, changed, ordered)

    def take(self, step: Step) -> None:
        """The transaction of ``step`` is durable."""
        for place, digest in step.changed.items():
            if digest is None:
                self._rows.pop(place, None)
            else:
                self._rows[place] = digest
        self._ordered, self.anchor = step.ordered, step.anchor

    def _replaced(self, changed: Mapping[Place, bytes | None]) -> list[bytes]:
        ordered = self._ordered.copy()
        for place, digest in changed.items():
            old = self._rows.get(place)
            if old is not None:
                del ordered[bisect_left(ordered, old)]
            if digest is not None:
                insort(ordered, digest)
        return ordered


def digest_of(ordered: Iterable[bytes]) -> str:
    """The digest over the digests of all rows, which come sorted; in hex."""
    return hashlib.sha256(_FORMAT + b"".join(ordered)).hexdigest()


def row_digest(table: str, columns: Mapping[str, str | int | bytes | None]) -> bytes:
    """The digest of one row. A column that is NULL is left out: one that is added later moves no digest.

    Raises:
        CanonicalError: a value of a type that no column has, or an integer that JSON cannot hold.
    """
    outside = OUTSIDE.get(table, frozenset())
    told = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in columns.items()
        if value is not None and name not in outside
    }
    return hashlib.sha256(canonical({"format": _ROW_FORMAT, "table": table, "columns": told})).digest()


def times_of_keys(connection: sa.Connection) -> tuple[str, ...]:
    """When each long-lived key was made. The start makes those that are missing, without an intent in the ledger."""
    return tuple(connection.scalars(sa.select(WRAPPED_KEYS.c.created_at)))


def _read_rows(connection: sa.Connection) -> dict[Place, bytes]:
    rows: dict[Place, bytes] = {}
    for table in TABLES:
        rows.update(_row_digests(connection, table))
    return rows


def _row_digests(connection: sa.Connection, table: sa.Table, *, only_changed: bool = False) -> dict[Place, bytes]:
    names = [column.name for column in table.columns]
    # Names of our own, from METADATA. Read past SQLAlchemy's types: what a column really holds is what counts.
    chosen = f"SELECT rowid, {', '.join(names)} FROM {table.name}"  # noqa: S608 - names from code
    if only_changed:
        chosen += f" WHERE rowid IN (SELECT row FROM {_CHANGED} WHERE tbl = '{table.name}')"  # noqa: S608 - from code
    wanted = [_stored_as(column) for column in table.columns]
    digests: dict[Place, bytes] = {}
    for number, *values in connection.exec_driver_sql(chosen):
        if not all(value is None or type(value) is kind for value, kind in zip(values, wanted, strict=True)):
            raise _damaged(table.name)
        try:
            digests[table.name, number] = row_digest(table.name, dict(zip(names, values, strict=True)))
        except CanonicalError:
            raise _damaged(table.name) from None
    return digests


def _stored_as(column: sa.Column[Any]) -> type:
    if isinstance(column.type, sa.LargeBinary):
        return bytes
    return int if isinstance(column.type, sa.Integer) else str


def _read_state(connection: sa.Connection, keys: CurrentKeys) -> list[tuple[Anchor, bool]]:
    """Each state that stands there, and whether its MAC holds; there must be one."""
    found = []
    rows = connection.exec_driver_sql("SELECT tenant_id, generation, digest, kid, row_mac FROM vault_state")
    for tenant_id, generation, digest, kid, row_mac in rows:
        is_whole = (type(generation), type(digest), type(row_mac)) == (int, bytes, bytes)
        if not is_whole or not 0 < generation <= _GENERATION_LIMIT:
            found.append((Anchor(0, ""), False))
            continue
        anchor = Anchor(generation, digest.hex())
        is_ours = (tenant_id, kid) == (DEFAULT_TENANT, keys.kid)
        holds = is_ours and keys.row_holds(VAULT_STATE.name, _columns(keys, anchor), row_mac)
        found.append((anchor, holds))
    return found


def _demand_same(stored: list[tuple[Anchor, bool]], digest: str) -> Anchor:
    if not stored:
        raise VaultError(
            detail="The vault does not say what it held last: that row was removed, or this vault was made before "
            "there was one. Nothing was changed.",
            next_step=_ADOPT,
        )
    anchor, holds = stored[0]
    if len(stored) > 1 or not holds or anchor.digest != digest:
        raise VaultError(
            detail="The vault does not hold what it held last: a row in it was altered, removed or put back outside "
            "Mycelos. Nothing was changed.",
            next_step=_ADOPT,
        )
    return anchor


def _write(connection: sa.Connection, keys: CurrentKeys, anchor: Anchor) -> None:
    remove_all(connection, VAULT_STATE)
    change_one(
        connection,
        VAULT_STATE.insert().values(
            tenant_id=DEFAULT_TENANT,
            generation=anchor.generation,
            digest=bytes.fromhex(anchor.digest),
            kid=keys.kid,
            row_mac=keys.row_mac(VAULT_STATE.name, _columns(keys, anchor)),
        ),
    )


def _columns(keys: CurrentKeys, anchor: Anchor) -> dict[str, str | int | None]:
    return {
        "tenant_id": DEFAULT_TENANT,
        "generation": anchor.generation,
        "digest": anchor.digest,
        "kid": keys.kid,
    }


def _watch_tables(connection: sa.Connection) -> None:
    """Have the connection itself name each row that changes. TEMP: nothing of it lies in the file."""
    connection.exec_driver_sql("CREATE TEMP TABLE changed_rows (tbl TEXT NOT NULL, row INTEGER NOT NULL)")
    for table in TABLES:
        outside = OUTSIDE.get(table.name, frozenset())
        columns = ", ".join(column.name for column in table.columns if column.name not in outside)
        for when, rows in (("INSERT", ("NEW",)), (f"UPDATE OF {columns}", ("OLD", "NEW")), ("DELETE", ("OLD",))):
            body = " ".join(f"INSERT INTO changed_rows VALUES ('{table.name}', {row}.rowid);" for row in rows)  # noqa: S608 - names from code
            name = f"{table.name}_{when.partition(' ')[0].lower()}"
            connection.exec_driver_sql(f"CREATE TEMP TRIGGER {name} AFTER {when} ON main.{table.name} BEGIN {body} END")


def _damaged(table: str) -> VaultError:
    return VaultError(
        detail=f"The vault's table {table} holds a value that Mycelos does not write. Nothing was changed.",
        next_step="Put back a copy of the data folder that is sound.",
    )
