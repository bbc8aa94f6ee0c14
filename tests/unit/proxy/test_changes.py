from __future__ import annotations

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.changes import change_one, remove_all
from mycelos.proxy.database import Database
from mycelos.proxy.tables import REVISIONS
from mycelos.wire.problems import ProblemCode, Refusal

ADD = REVISIONS.insert().values(version_num="more")
RENAME = REVISIONS.update().values(version_num="other")
REMOVE = REVISIONS.delete()


@pytest.fixture
def database(layout: DataLayout):
    database = Database.open(layout.vault, lambda _: None)
    yield database
    database.close()


def numbers(database: Database) -> list[str]:
    return database.run_now(lambda connection: list(connection.scalars(sa.select(REVISIONS.c.version_num))))


@pytest.mark.parametrize("statement", [ADD, RENAME, REMOVE])
def test_a_statement_that_changes_one_row_is_done(database: Database, statement: sa.Insert) -> None:
    before = numbers(database)
    database.run_now(lambda connection: change_one(connection, statement))
    assert numbers(database) != before


@pytest.mark.parametrize(
    ("statement", "event"), [(ADD, "INSERT"), (RENAME, "UPDATE"), (REMOVE, "DELETE")], ids=["add", "rename", "remove"]
)
def test_a_statement_that_something_drops_is_refused_and_nothing_of_its_transaction_kept(
    database: Database, statement: sa.Insert, event: str
) -> None:
    database.run_now(
        lambda c: c.exec_driver_sql(
            f"CREATE TRIGGER t BEFORE {event} ON alembic_version BEGIN SELECT raise(IGNORE); END"
        )
    )
    before = numbers(database)

    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE made_before (x)")
        change_one(connection, statement)

    with pytest.raises(Refusal) as caught:
        database.run_now(work)
    assert caught.value.problem.code is ProblemCode.VAULT_UNAVAILABLE
    assert "0 rows changed" in caught.value.problem.detail
    tables = database.run_now(lambda connection: sa.inspect(connection).get_table_names())
    assert (numbers(database), "made_before" in tables) == (before, False)


@pytest.mark.parametrize("statement", [RENAME.where(REVISIONS.c.version_num == "none"), REMOVE])
def test_another_number_of_rows_than_one_is_refused(database: Database, statement: sa.Update) -> None:
    database.run_now(lambda connection: change_one(connection, ADD))
    with pytest.raises(Refusal, match="vault_unavailable"):
        database.run_now(lambda connection: change_one(connection, statement))
    assert len(numbers(database)) == 2


def test_all_that_fit_are_removed_and_counted(database: Database) -> None:
    database.run_now(lambda connection: change_one(connection, ADD))
    column = REVISIONS.c.version_num
    assert database.run_now(lambda connection: remove_all(connection, REVISIONS, column == "none")) == 0
    assert database.run_now(lambda connection: remove_all(connection, REVISIONS, column == "more")) == 1
    assert database.run_now(lambda connection: remove_all(connection, REVISIONS)) == 1


@pytest.mark.parametrize("trigger", ["BEFORE DELETE", "AFTER DELETE"])
def test_a_row_that_does_not_go_or_comes_back_at_once_is_noticed(database: Database, trigger: str) -> None:
    act = "SELECT raise(IGNORE)" if trigger.startswith("BEFORE") else "INSERT INTO alembic_version VALUES ('back')"
    database.run_now(
        lambda connection: connection.exec_driver_sql(f"CREATE TRIGGER t {trigger} ON alembic_version BEGIN {act}; END")
    )
    before = numbers(database)
    with pytest.raises(Refusal, match="vault_unavailable"):
        database.run_now(lambda connection: remove_all(connection, REVISIONS))
    assert numbers(database) == before
