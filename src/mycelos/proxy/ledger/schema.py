"""The ledger's tables, its index, and the triggers that keep the tables append-only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from mycelos.proxy.ledger.rare_index import INDEX

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION: Final = 3

TABLE: Final = """
CREATE TABLE audit_events (
    seq INTEGER PRIMARY KEY,
    v INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at TEXT NOT NULL,
    mono INTEGER NOT NULL,
    event TEXT NOT NULL,
    phase TEXT NOT NULL,
    intent_seq INTEGER,
    source TEXT NOT NULL,
    tenant TEXT NOT NULL,
    principal TEXT NOT NULL,
    actor TEXT NOT NULL,
    run TEXT NOT NULL,
    agent TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    args_mac TEXT,
    details TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    leaf_hash TEXT NOT NULL
) STRICT
"""

# INSERT OR REPLACE deletes the old row without firing the DELETE trigger: the demand for the next number closes that.
NEXT_ONLY: Final = """
CREATE TRIGGER audit_events_next_only BEFORE INSERT ON audit_events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM audit_events)
BEGIN SELECT RAISE(ABORT, 'audit_events takes the next number only'); END
"""

_GUARD: Final = """
CREATE TRIGGER {table}_no_{verb} BEFORE {action} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""

TREE: Final = """
CREATE TABLE tree_nodes (
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID
"""

TREE_NEXT_ONLY: Final = """
CREATE TRIGGER tree_nodes_next_only BEFORE INSERT ON tree_nodes
WHEN NEW.place IS NOT (SELECT coalesce(max(place), -1) + 1 FROM tree_nodes WHERE level = NEW.level)
BEGIN SELECT RAISE(ABORT, 'tree_nodes takes the next place of its level only'); END
"""

# One row for each tile of 256 entries: the newest goes on until its tile is full.
CHECKPOINTS: Final = """
CREATE TABLE checkpoints (
    tile INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT
"""

CHECKPOINTS_NEWER_ONLY: Final = """
CREATE TRIGGER checkpoints_newer_only BEFORE INSERT ON checkpoints
WHEN NEW.tile IS NOT NEW.size >> 8 OR NEW.size <= coalesce((SELECT size FROM checkpoints ORDER BY tile DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'checkpoints takes a larger size only'); END
"""

CHECKPOINTS_NEWEST_GROWS: Final = """
CREATE TRIGGER checkpoints_newest_grows BEFORE UPDATE ON checkpoints
WHEN NEW.tile IS NOT OLD.tile OR NEW.tile IS NOT NEW.size >> 8
    OR NEW.size <= (SELECT size FROM checkpoints ORDER BY tile DESC LIMIT 1)
BEGIN SELECT RAISE(ABORT, 'only the newest row of checkpoints grows'); END
"""


def _guard(table: str, action: str) -> str:
    return _GUARD.format(table=table, verb=action.lower(), action=action)


_OBJECTS: Final = (
    ("table", "audit_events", "audit_events", TABLE),
    ("index", "audit_events_rare", "audit_events", INDEX),
    ("trigger", "audit_events_next_only", "audit_events", NEXT_ONLY),
    ("trigger", "audit_events_no_update", "audit_events", _guard("audit_events", "UPDATE")),
    ("trigger", "audit_events_no_delete", "audit_events", _guard("audit_events", "DELETE")),
    ("table", "tree_nodes", "tree_nodes", TREE),
    ("trigger", "tree_nodes_next_only", "tree_nodes", TREE_NEXT_ONLY),
    ("trigger", "tree_nodes_no_update", "tree_nodes", _guard("tree_nodes", "UPDATE")),
    ("trigger", "tree_nodes_no_delete", "tree_nodes", _guard("tree_nodes", "DELETE")),
    ("table", "checkpoints", "checkpoints", CHECKPOINTS),
    ("trigger", "checkpoints_newer_only", "checkpoints", CHECKPOINTS_NEWER_ONLY),
    ("trigger", "checkpoints_newest_grows", "checkpoints", CHECKPOINTS_NEWEST_GROWS),
    ("trigger", "checkpoints_no_delete", "checkpoints", _guard("checkpoints", "DELETE")),
)

SCHEMA: Final = {name: sql.strip() for _, name, _, sql in _OBJECTS}
"""Every table, index and trigger by its name, in the order of their making."""

_ROWS: Final = Counter((kind, name, table, sql.strip()) for kind, name, table, sql in _OBJECTS)


def schema_faults(connection: sqlite3.Connection) -> list[str]:
    """The names of tables, triggers and indexes that are not as `SCHEMA` says: missing, changed or added. The version.

    No row is passed over, whatever its name: an index may have a trigger's, and one that leaves rows out would hide
    them from every filter. What an index of ours holds is `mycelos.proxy.ledger.rare_index`'s to compare.
    """
    found = Counter(map(tuple, connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    versions = set() if version == SCHEMA_VERSION else {f"version {version}"}
    return sorted(versions | {str(name) for _, name, _, _ in (found - _ROWS) + (_ROWS - found)})
