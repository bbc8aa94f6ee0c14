"""The tables as a contract."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Integer, String, Text

from mycelos.gateway.store.tables import METADATA

PORTABLE = (JSON, Boolean, Integer, String, Text)


def test_no_column_has_a_type_of_one_database_alone() -> None:
    for table in METADATA.sorted_tables:
        for column in table.columns:
            assert type(column.type) in PORTABLE, f"{table.name}.{column.name}"
