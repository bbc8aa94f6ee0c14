"""Statements that must change what they name: one that changes less, or more, ends its transaction.

An update that is dropped without an error would be reported as done. `mycelos.proxy.own_schema` refuses what could
drop one; this is the second look, at the statement itself.
"""

from __future__ import annotations

import sqlalchemy as sa

from mycelos.wire.problems import ProblemCode, Refusal


def change_one(connection: sa.Connection, statement: sa.Insert | sa.Update | sa.Delete) -> None:
    """Run a statement that changes exactly one row.

    Raises:
        Refusal: `vault_unavailable`; it changed another number, and the transaction must not be kept.
    """
    # Of an INSERT, SQLAlchemy keeps the count only where it is asked to.
    changed = connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount
    if changed != 1:
        message = f"{changed} rows changed where one should have"
        raise _refusal(message)


def remove_all(connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    """Delete the rows of ``table`` that fit; how many there were.

    Raises:
        Refusal: `vault_unavailable`; one is left, and the transaction must not be kept.
    """
    removed = connection.execute(table.delete().where(*where)).rowcount
    left = connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where))
    if left:
        message = f"{left} rows are left where all should have gone"
        raise _refusal(message)
    return int(removed)


def _refusal(why: str) -> Refusal:
    return Refusal(
        ProblemCode.VAULT_UNAVAILABLE,
        f"The vault's database did not do what it was told: {why}; nothing was changed.",
        "Something in the file works against Mycelos: keep it as evidence, and put back a copy that is sound.",
    )
