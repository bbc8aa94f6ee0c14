from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from schema_mutations import MUTATIONS, mutate

from mycelos.configuration.layout import DataLayout
from mycelos.proxy import own_schema as module
from mycelos.proxy.database import Database, make_engine
from mycelos.proxy.migrations import make_config
from mycelos.proxy.own_schema import demand_own_schema, normalised, own_schema
from mycelos.proxy.tables import REVISION, REVISIONS
from mycelos.proxy.vault.errors import VaultError

ROWS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
TABLE = "CREATE TABLE t (\n\ta TEXT NOT NULL, \n\tb BLOB, \n\tPRIMARY KEY (a, b)\n)\n STRICT\n\n"
SAME = "CREATE TABLE t ( PRIMARY KEY ( a , b ) , a TEXT NOT NULL , b BLOB ) STRICT"


@pytest.fixture
def vault(layout: DataLayout) -> Path:
    Database.open(layout.vault, lambda _: None).close()
    return layout.vault


def asked(path: Path) -> str | None:
    connection = sqlite3.connect(path)
    try:
        return demand_own_schema(connection.execute, path)
    finally:
        connection.close()


def at_revision(path: Path, revision: str) -> None:
    """A vault as the Mycelos of that revision has made it."""
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    engine = make_engine(path)
    with engine.begin() as connection:
        REVISIONS.create(connection)
        command.upgrade(make_config(connection), revision)
    engine.dispose()


def test_what_mycelos_makes_is_written_down_word_by_word(repository: Path) -> None:
    """Where a newer library writes it otherwise, this is noticed here, and not by everybody's next start."""
    golden = json.loads((repository / "tests/vectors/vault/schema-v3.json").read_text())
    assert sorted(map(list, own_schema(REVISION)), key=str) == golden


def test_a_fresh_vault_is_our_own(vault: Path) -> None:
    assert asked(vault) == REVISION


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_vault_of_an_older_revision_is_our_own_before_and_after_its_upgrade(
    layout: DataLayout, revision: str
) -> None:
    at_revision(layout.vault, revision)
    assert asked(layout.vault) == revision
    Database.open(layout.vault, lambda _: None).close()
    assert asked(layout.vault) == REVISION


@pytest.mark.parametrize("revision", ["0001", "0002"])
@pytest.mark.parametrize(
    "name", ["a trigger under an autoindex's name", "a COLLATE", "another table", "a plain trigger"]
)
def test_nothing_of_an_older_vault_is_read_or_upgraded_where_somebody_changed_it(
    layout: DataLayout, revision: str, name: str
) -> None:
    at_revision(layout.vault, revision)
    mutate(layout.vault, MUTATIONS[name])
    before, seen = layout.vault.read_bytes(), []
    with pytest.raises(VaultError, match="than Mycelos makes"):
        Database.open(layout.vault, lambda _: seen.append("read"))
    assert (seen, layout.vault.read_bytes()) == ([], before)


@pytest.mark.parametrize("name", MUTATIONS)
def test_whatever_mycelos_does_not_make_is_refused_before_anything_is_read(vault: Path, name: str) -> None:
    mutate(vault, MUTATIONS[name])
    before, seen = vault.read_bytes(), []
    with pytest.raises(VaultError) as caught:
        Database.open(vault, lambda _: seen.append("read"))
    # SQLite itself finds some: a text that its rows or its name cannot have.
    assert any(why in caught.value.detail for why in ("than Mycelos makes", "is damaged", "SQLITE_CORRUPT"))
    assert (seen, vault.read_bytes()) == ([], before)
    with pytest.raises((VaultError, sqlite3.DatabaseError)):
        asked(vault)


def test_a_schema_of_a_newer_mycelos_is_said_to_be_so(vault: Path) -> None:
    mutate(vault, lambda c: c.executescript("UPDATE alembic_version SET version_num = '9999'; CREATE TABLE more (x)"))
    with pytest.raises(VaultError, match="'9999', which this Mycelos does not know"):
        asked(vault)


@pytest.mark.parametrize("number", [0, 2])
def test_a_vault_of_no_revision_or_of_two_is_not_known(vault: Path, number: int) -> None:
    change = "DELETE FROM alembic_version" if number == 0 else "INSERT INTO alembic_version VALUES ('0001')"
    mutate(vault, lambda c: c.execute(change))
    with pytest.raises(VaultError, match="does not know"):
        Database.open(vault, lambda _: None)


def test_without_the_comparison_a_trigger_under_an_autoindex_s_name_passes(
    vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin."""
    mutate(vault, MUTATIONS["a trigger under an autoindex's name"])
    monkeypatch.setattr(module, "_described", lambda rows: Counter())
    assert asked(vault) == REVISION


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", " ").replace("\t", "  "),
        TABLE.replace("(a, b)", "(a,b)"),
        TABLE.replace("a TEXT", '"a" TEXT'),
        "CREATE TABLE t (b BLOB, a TEXT NOT NULL, PRIMARY KEY (a, b)) STRICT",
        "CREATE TABLE t (a TEXT NOT NULL, PRIMARY KEY (a, b), b BLOB) STRICT",
    ],
)
def test_white_space_quotes_and_the_order_of_columns_mean_nothing(text: str) -> None:
    assert normalised(text) == SAME


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("(a, b)", "(b, a)"),
        TABLE.replace("b BLOB", "b BLOB, b BLOB"),
        TABLE.replace("b BLOB, ", ""),
        TABLE.replace("STRICT", ""),
        TABLE.replace("STRICT", "STRICT, WITHOUT ROWID"),
        TABLE.replace("STRICT", "STRICT\x00"),
        TABLE.replace("STRICT", "STRICT -- more"),
        TABLE.replace("b BLOB", "b BLOB /* more */"),
        TABLE.replace("a TEXT", 'a "TEXT"'),
        TABLE.replace("a TEXT", "[a] TEXT"),
        TABLE.replace("a TEXT", "`a` TEXT"),
        TABLE.replace("a TEXT", '"a""b" TEXT'),
        TABLE.replace("a TEXT", "a\u00a0TEXT"),
        TABLE.replace("b BLOB", "b BLOB DEFAULT 'x'"),
        TABLE.replace("PRIMARY KEY (a, b)", '"PRIMARY KEY" (a, b)'),
        TABLE.replace("TABLE t", "TABLE u"),
        TABLE.replace("TABLE", "VIRTUAL TABLE"),
        TABLE.replace("TABLE", "TEMP TABLE"),
        TABLE.lower(),
        TABLE.replace(")\n STRICT", "))\n STRICT"),
        "CREATE TABLE t AS SELECT 1",
        "",
    ],
)
def test_everything_else_means_something(text: str) -> None:
    assert normalised(text) != SAME


def test_the_order_of_an_index_means_something() -> None:
    one, other = (normalised(f"CREATE UNIQUE INDEX i ON t ({columns})") for columns in ("a, b", "b, a"))
    assert one != other


def test_a_row_that_stands_twice_is_one_too_many(vault: Path) -> None:
    connection = sqlite3.connect(vault)
    rows = connection.execute(ROWS).fetchall()
    connection.close()

    def doubled(statement: str) -> list[tuple[object, ...]]:
        return [*rows, rows[0]] if statement == ROWS else [(REVISION,)]

    with pytest.raises(VaultError, match="than Mycelos makes"):
        demand_own_schema(doubled, vault)


def test_both_kinds_of_connection_can_be_asked(vault: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{vault}")
    with engine.connect() as connection:
        assert demand_own_schema(connection.exec_driver_sql, vault) == asked(vault)
    engine.dispose()


def test_the_names_are_told_shortened_and_without_what_a_terminal_would_obey(vault: Path) -> None:
    long = "x" * 500
    made = [f'CREATE TABLE "{name}" (x)' for name in ("\x1b[2J", long, "a", "b", "c", "d", "e")]
    mutate(vault, lambda connection: connection.executescript(";".join(made)))
    with pytest.raises(VaultError) as caught:
        asked(vault)
    assert caught.value.detail.endswith(r"makes: '\x1b[2J', a, b, c, d, 2 more.")
