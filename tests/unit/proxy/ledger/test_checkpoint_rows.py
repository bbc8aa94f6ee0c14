from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from damaged_table import damage

from mycelos.proxy.ledger.checkpoint_rows import misplaced_checkpoint, newest_checkpoint
from mycelos.proxy.ledger.database import KEEP_CHECKPOINT, LedgerError, LedgerUnavailableError, open_for_writing


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with closing(open_for_writing(path)) as connection:
        for tile, size in ((0, 9), (1, 300)):
            connection.execute(KEEP_CHECKPOINT, (tile, size, f"at {size}"))
    return path


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)


def test_the_newest_of_all_or_of_a_size_is_found(written):
    with closing(sqlite3.connect(written)) as connection:
        assert newest_checkpoint(connection, written) == (300, "at 300")
        assert newest_checkpoint(connection, written, 299) == (9, "at 9")
        assert newest_checkpoint(connection, written, 8) is None


def test_one_in_the_row_of_another_tile_is_found(written):
    with closing(sqlite3.connect(written)) as connection:
        assert misplaced_checkpoint(connection, written) is None
        change(written, "UPDATE checkpoints SET tile = 7 WHERE tile = 1")
        assert misplaced_checkpoint(connection, written) == 300


@pytest.mark.parametrize(
    "asked", [newest_checkpoint, misplaced_checkpoint, lambda *where: newest_checkpoint(*where, 299)]
)
def test_a_file_that_is_damaged_there_is_a_ledger_error_with_its_place(written, asked):
    damage(written, "checkpoints")
    told = r"ledger\.sqlite cannot be read as a ledger.*keep the file"
    with closing(sqlite3.connect(written)) as connection, pytest.raises(LedgerError, match=told) as caught:
        asked(connection, written)
    assert not isinstance(caught.value, LedgerUnavailableError)


@pytest.mark.parametrize("asked", [newest_checkpoint, misplaced_checkpoint])
def test_a_file_that_is_locked_is_not_called_damaged(written, asked):
    with (
        closing(sqlite3.connect(written, isolation_level=None)) as other,
        closing(sqlite3.connect(written, timeout=0)) as connection,
    ):
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerUnavailableError, match="cannot be read now"):
            asked(connection, written)


def test_a_note_that_is_no_text_is_a_ledger_error(written):
    change(written, "UPDATE checkpoints SET note = CAST(x'ff' AS TEXT) WHERE tile = 1")
    with closing(sqlite3.connect(written)) as connection, pytest.raises(LedgerError, match="keep the file"):
        newest_checkpoint(connection, written)
