"""The stored tree gives the same hashes as the recursion of the RFC, from tiles and leaves."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damaged_table import damage

from mycelos.ledger.merkle import Frontier, root_of
from mycelos.proxy.ledger.database import LedgerError, open_for_writing
from mycelos.proxy.ledger.stored_tree import STORED_LEVELS, StoredTree

PLACE = Path("ledger.sqlite")
SIZE = 70_000
"""A whole tile of the second level, and then some."""


def leaf(place: int) -> bytes:
    return hashlib.sha256(b"%d" % place).digest()


@pytest.fixture(scope="module")
def stored():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE audit_events (seq INTEGER PRIMARY KEY, leaf_hash TEXT)")
    connection.execute("CREATE TABLE tree_nodes (level INTEGER, place INTEGER, hash BLOB, PRIMARY KEY (level, place))")
    every: dict[tuple[int, int], bytes] = {}
    tree = Frontier()
    for place in range(SIZE):
        for level, at, found in tree.append(leaf(place)):
            every[level, at] = found
    connection.executemany("INSERT INTO audit_events VALUES (?, ?)", ((n, leaf(n).hex()) for n in range(SIZE)))
    kept = [(*place, found) for place, found in every.items() if place[0] in STORED_LEVELS]
    connection.executemany("INSERT INTO tree_nodes VALUES (?, ?, ?)", kept)
    yield connection, every
    connection.close()


def test_few_nodes_are_kept(stored):
    connection, _ = stored
    assert connection.execute("SELECT count(*) FROM tree_nodes").fetchone() == (SIZE // 256 + SIZE // 65_536,)
    assert StoredTree(connection, PLACE).size == SIZE


@pytest.mark.parametrize("level", range(17))
def test_each_complete_subtree_is_found(stored, level):
    connection, every = stored
    tree = StoredTree(connection, PLACE)
    last = (SIZE >> level) - 1
    for place in {0, 1, last // 2, last} if last > 0 else {0}:
        assert tree.node(level, place) == every[level, place]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, SIZE])
def test_the_root_of_each_size_is_that_of_the_recursion(stored, size):
    connection, every = stored
    assert StoredTree(connection, PLACE).root(size) == root_of(size, lambda level, place: every[level, place])


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM audit_events WHERE seq = 3",
        "UPDATE audit_events SET leaf_hash = 'xy' WHERE seq = 3",
        "UPDATE audit_events SET leaf_hash = x'00' WHERE seq = 3",
    ],
)
def test_a_leaf_that_is_missing_or_no_hash_is_no_root(stored, damage):
    connection, _ = stored
    connection.execute("SAVEPOINT before")
    connection.execute(damage)
    with pytest.raises(LedgerError, match="level 0 from place 0"):
        StoredTree(connection, PLACE).node(3, 0)
    connection.execute("ROLLBACK TO before")


@pytest.mark.parametrize("damage", ["DELETE FROM tree_nodes WHERE place = 3", "UPDATE tree_nodes SET hash = 'text'"])
def test_a_node_that_is_missing_or_no_hash_is_no_root(stored, damage):
    connection, _ = stored
    connection.execute("SAVEPOINT before")
    connection.execute(damage)
    with pytest.raises(LedgerError, match="level 8 from place 0"):
        StoredTree(connection, PLACE).node(10, 0)
    connection.execute("ROLLBACK TO before")


def test_a_file_that_is_damaged_there_is_a_ledger_error_with_its_place(tmp_path):
    path = tmp_path / "ledger.sqlite"
    open_for_writing(path).close()
    damage(path, "audit_events")
    damage(path, "tree_nodes")
    with closing(sqlite3.connect(path)) as connection:
        tree = StoredTree(connection, path)
        for asked in (lambda: tree.size, lambda: tree.node(0, 0), lambda: tree.node(8, 0)):
            with pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be read as a ledger.*keep the file"):
                asked()
