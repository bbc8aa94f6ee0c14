"""Is the schema of a vault the one that Mycelos makes? Asked before anything in the file is believed.

A trigger, a view, a column of somebody else's would work inside every transaction: undo a deletion, drop a parking.
So every row of `sqlite_master` is held against what this code makes, text included, whatever name or type it bears.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from mycelos.proxy.tables import METADATA, REVISION, REVISIONS
from mycelos.proxy.vault.errors import VaultError

Execute = Callable[[str], Iterable[Sequence[Any]]]
"""Runs a statement on a connection, of SQLAlchemy or of sqlite3."""

_ROWS: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master"
_TOKEN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[(),]")
_SPACE: Final = re.compile(r"[ \t\n\r\f]+")
_QUOTED: Final = re.compile(r'"([a-z_][a-z0-9_]*)"(?!")')
_NAMED: Final = 5
_SHOWN: Final = 60
_TABLE: Final = "CREATE TABLE "


def demand_own_schema(execute: Execute, path: Path) -> str | None:
    """Refuse what Mycelos does not make; the revision that the file is of.

    Args:
        execute: of a connection to the file, in which nothing else was read.
        path: where the file is, for the text.

    Raises:
        VaultError: a table, index, trigger or view is missing, changed or too many, or a newer Mycelos made it.
    """
    found = _described(execute(_ROWS))
    own = own_schema(REVISION)
    if found != own and all(row in found for row in own if row[2] == REVISIONS.name):
        # The table of revisions is the one that Mycelos makes, so it can be read, and decides what is wanted.
        own = _own_schema_of(_revision(execute), path)
    odd = sorted({str(row[1]) for row in (found - own) + (own - found)})
    if odd:
        # Somebody else's names: shortened, and nothing in them that a terminal would obey.
        shown = [name[:_SHOWN] if name.isprintable() else ascii(name[:_SHOWN]) for name in odd[:_NAMED]]
        more = [] if len(odd) <= _NAMED else [f"{len(odd) - _NAMED} more"]
        raise VaultError(
            detail=f"The vault {path} has other tables, indexes or triggers than Mycelos makes: "
            f"{', '.join(shown + more)}.",
            next_step="Put back a copy of the data folder that is sound.",
        )
    return _revision(execute)


def own_schema(revision: str) -> Counter[tuple[Any, ...]]:
    """The rows of `sqlite_master` in a vault of ``revision``, their texts normalised, each with its number."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            if revision == REVISION:
                METADATA.create_all(connection)
            else:
                from mycelos.proxy.migrations import make_at  # noqa: PLC0415 - Alembic is seldom needed and large

                REVISIONS.create(connection)
                make_at(connection, revision)
            return _described(connection.exec_driver_sql(_ROWS))
    finally:
        engine.dispose()


def normalised(sql: str) -> str:
    """A form of a CREATE statement that does not depend on white space, nor on the order of a table's columns.

    A text with anything in it that none of ours has, such as a number, a comment or another quote, stands for itself.
    """
    tokens = _tokens(sql)
    if tokens is None or "(" not in tokens or ")" not in tokens:
        return sql
    first, last = tokens.index("("), len(tokens) - 1 - tokens[::-1].index(")")
    parts = _parts(tokens[first + 1 : last])
    if parts is None:
        return sql
    head = " ".join(tokens[:first])
    # A column that an upgrade added stands elsewhere in the text. In an index the order means something.
    ordered = sorted(parts) if f"{head} ".startswith(_TABLE) else parts
    return f"{head} ( {' , '.join(ordered)} ) {' '.join(tokens[last + 1 :])}".rstrip()


def _own_schema_of(revision: str | None, path: Path) -> Counter[tuple[Any, ...]]:
    if revision == REVISION:
        return own_schema(REVISION)
    from mycelos.proxy.migrations import demand_known  # noqa: PLC0415 - Alembic is seldom needed and large

    return own_schema(demand_known(path, revision))


def _described(rows: Iterable[Sequence[Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (kind, name, table, normalised(sql) if isinstance(sql, str) else sql) for kind, name, table, sql in rows
    )


def _revision(execute: Execute) -> str | None:
    found = [row[0] for row in execute(f"SELECT version_num FROM {REVISIONS.name}")]  # noqa: S608 - a name of ours
    return found[0] if len(found) == 1 else None


def _tokens(sql: str) -> list[str] | None:
    """The words, parentheses and commas of ``sql``; None where something else stands in it."""
    tokens, at = [], 0
    while at < len(sql):
        if space := _SPACE.match(sql, at):
            at = space.end()
        elif token := _TOKEN.match(sql, at):
            tokens.append(token[0])
            at = token.end()
        elif quoted := _QUOTED.match(sql, at):
            # A name in lower case means the same without its quotes, where no keyword of ours is written so.
            tokens.append(quoted[1])
            at = quoted.end()
        else:
            return None
    return tokens


def _parts(tokens: Sequence[str]) -> list[str] | None:
    """The tokens split at the commas outside of parentheses; None where those do not match."""
    parts: list[list[str]] = [[]]
    depth = 0
    for word in tokens:
        depth += (word == "(") - (word == ")")
        if depth < 0:
            return None
        if word == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(word)
    return None if depth else [" ".join(part) for part in parts]
