import sqlalchemy as sa

from mycelos.proxy.tables import METADATA, REVISIONS


def test_every_table_is_strict_and_says_whose_its_rows_are() -> None:
    for table in METADATA.sorted_tables:
        assert table.dialect_options["sqlite"]["strict"], table.name
        if table is not REVISIONS:
            assert "tenant_id" in table.c, table.name


def test_what_no_seal_covers_stands_under_a_mac_and_a_key() -> None:
    for table in METADATA.sorted_tables:
        sealed = {"wrapped_root", "wrapped_key", "payload"} & set(table.c.keys())
        if table is not REVISIONS and not sealed:
            assert {"kid", "row_mac"} <= set(table.c.keys()), table.name


def test_columns_have_types_that_other_databases_know_as_well() -> None:
    for table in METADATA.sorted_tables:
        for column in table.c:
            assert type(column.type) in {sa.Text, sa.Integer, sa.LargeBinary}, f"{table.name}.{column.name}"
