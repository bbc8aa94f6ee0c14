"""Changes of a vault's schema that somebody with the file, and without its key, can make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

Mutation = Callable[[sqlite3.Connection], None]

IGNORED: Final = "BEGIN SELECT raise(IGNORE); END"


def edited(name: str, old: str, new: str) -> Mutation:
    """Another text for what is called ``name``, as it can be written with ``writable_schema``."""

    def mutate(connection: sqlite3.Connection) -> None:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        assert old in sql
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql.replace(old, new, 1), name))
        connection.execute("PRAGMA writable_schema = RESET")

    return mutate


def ran(*statements: str) -> Mutation:
    """What plain statements do."""

    def mutate(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return mutate


def slipped_in(kind: str, name: str, table: str, sql: str) -> Mutation:
    """A row of the schema under a name and a type that no statement could give it."""

    def mutate(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, 0, ?)", (kind, name, table, sql))

    return mutate


def trigger(name: str, what: str = "BEFORE DELETE ON credentials", kind: str = "trigger") -> Mutation:
    """A trigger that drops every row of what it stands before."""
    return slipped_in(kind, name, what.rpartition(" ")[2], f'CREATE TRIGGER "{name}" {what} {IGNORED}')


ROW_MAC: Final = "row_mac BLOB NOT NULL, \n"
GENERATED: Final = (
    "g INTEGER GENERATED ALWAYS AS (CASE WHEN parked_at IS NULL THEN 1 END) VIRTUAL NOT NULL ON CONFLICT IGNORE, "
)
V: Final = "sqlite_autoindex_v_1"
INDEX: Final = "wrapped_keys_in_use"


def other_index(what: str) -> Mutation:
    """Another index under the name of Mycelos's one."""
    return ran(f"DROP INDEX {INDEX}", f"CREATE UNIQUE INDEX {INDEX} ON {what}")


MUTATIONS: Final[dict[str, Mutation]] = {
    "a trigger under an autoindex's name": trigger("sqlite_autoindex_credentials_90"),
    "a trigger under an autoindex's name of rules": trigger(
        "sqlite_autoindex_egress_rules_9", "BEFORE DELETE ON egress_rules"
    ),
    "a trigger under SQLite's own name": trigger("sqlite_sequence"),
    "a trigger under a table's name": trigger("egress_rules"),
    "a trigger under the index's name": trigger(INDEX),
    "a trigger that says it is a table": trigger("sqlite_autoindex_credentials_1", kind="table"),
    "a trigger that says it is an index": trigger("sqlite_autoindex_credentials_91", kind="index"),
    "a trigger without a name": trigger("", "BEFORE UPDATE ON credentials"),
    "a plain trigger": ran(f"CREATE TRIGGER t BEFORE UPDATE ON credentials {IGNORED}"),
    "a view": ran("CREATE VIEW v AS SELECT 1"),
    "a view under an autoindex's name": slipped_in("view", V, V, f"CREATE VIEW {V} AS SELECT 1"),
    "a virtual table": ran("CREATE VIRTUAL TABLE v USING fts5(x)"),
    "another table": ran("CREATE TABLE another (x)"),
    "statistics": ran("ANALYZE"),
    "a generated column": edited("credentials", ROW_MAC, ROW_MAC + GENERATED),
    "a column more": ran("ALTER TABLE credentials ADD COLUMN more TEXT"),
    "a column less": ran("ALTER TABLE credentials DROP COLUMN last_used_at"),
    "a CHECK": edited("credentials", ROW_MAC, ROW_MAC.replace(", \n", " CHECK (parked_at IS NULL), \n")),
    "a COLLATE": edited("credentials", "service TEXT NOT NULL", "service TEXT NOT NULL COLLATE NOCASE"),
    "a DEFAULT": edited("credentials", "parked_at TEXT", "parked_at TEXT DEFAULT NULL"),
    "an ON CONFLICT": edited("credentials", "service TEXT NOT NULL", "service TEXT NOT NULL ON CONFLICT IGNORE"),
    "an ON CONFLICT of a key": edited("egress_rules", "PRIMARY KEY (id)", "PRIMARY KEY (id) ON CONFLICT REPLACE"),
    "no CASCADE": edited("credential_versions", " ON DELETE CASCADE", ""),
    "a key that refers elsewhere": edited(
        "credential_versions", "REFERENCES credentials (id)", "REFERENCES passkeys (id)"
    ),
    "a nullable column": edited("credentials", "row_mac BLOB NOT NULL", "row_mac BLOB"),
    "another type": edited("credentials", "row_mac BLOB", "row_mac ANY"),
    "no STRICT": edited("credentials", "STRICT", ""),
    "a comment": edited("credentials", "STRICT", "STRICT --"),
    "no index": ran(f"DROP INDEX {INDEX}"),
    "an index more": ran("CREATE INDEX another ON egress_rules (host)"),
    "the index without its condition": other_index("wrapped_keys (tenant_id, name)"),
    "the index with another condition": other_index("wrapped_keys (tenant_id, name) WHERE retired_at IS NOT NULL"),
    "the index in another order": other_index("wrapped_keys (name, tenant_id) WHERE retired_at IS NULL"),
    "the index on another table": ran(f"DROP INDEX {INDEX}", f"CREATE INDEX {INDEX} ON egress_rules (host)"),
    "no table": ran("PRAGMA foreign_keys = OFF", "DROP TABLE passkeys"),
}


def mutate(path: Path, mutation: Mutation) -> None:
    """Change the file at ``path``, which nobody has open; the last to close it leaves one file."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        mutation(connection)
    finally:
        connection.close()
