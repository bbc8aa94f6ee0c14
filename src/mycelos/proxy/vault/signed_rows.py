"""Rows that no seal covers: what their MAC is over, and how they go from the keys of one slot to those of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mycelos.proxy.vault.envelope import SlotKeys


class AlteredRowError(Exception):
    """A row's MAC does not hold. ``table`` and ``row`` say which."""

    def __init__(self, table: str, row: str) -> None:
        super().__init__(f"{row} in {table}")
        self.table = table
        self.row = row


@dataclass(frozen=True)
class SignedRows:
    """One table with ``kid`` and ``row_mac``. ``columns`` gives what the MAC of a row is over, ``kid`` among it."""

    table: sa.Table
    columns: Callable[[Any], Mapping[str, str | int | None]]

    def demand(self, connection: sa.Connection, keys: SlotKeys) -> int:
        """Check every row; how many there are.

        Raises:
            AlteredRowError: one does not hold, or is under the keys of another slot.
        """
        rows = connection.execute(sa.select(self.table)).all()
        for row in rows:
            self._demand_row(row, keys)
        return len(rows)

    def rewrite(self, connection: sa.Connection, old: SlotKeys, new: SlotKeys) -> int:
        """Put every row under ``new``; how many there are. A row that does not hold under ``old`` gets no new MAC.

        Raises:
            AlteredRowError: one does not hold, or is under the keys of another slot.
        """
        keys = list(self.table.primary_key.columns)
        rows = connection.execute(sa.select(self.table)).all()
        for row in rows:
            columns = {**self._demand_row(row, old), "kid": new.kid}
            connection.execute(
                self.table.update()
                .where(*(column == getattr(row, column.name) for column in keys))
                .values(kid=new.kid, row_mac=new.row_mac(self.table.name, columns))
            )
        return len(rows)

    def _demand_row(self, row: Any, keys: SlotKeys) -> Mapping[str, str | int | None]:
        columns = self.columns(row)
        if row.kid != keys.kid or not keys.row_holds(self.table.name, columns, row.row_mac):
            raise AlteredRowError(
                self.table.name, " ".join(getattr(row, c.name) for c in self.table.primary_key.columns)
            )
        return columns
