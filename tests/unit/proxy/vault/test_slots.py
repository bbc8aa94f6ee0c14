from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import make_engine
from mycelos.proxy.tables import KEY_SLOTS
from mycelos.proxy.vault import slots
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import Kind, parse_identifier


def change(layout: DataLayout, statement: sa.Executable) -> None:
    engine = make_engine(layout.vault)
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def test_the_first_opening_makes_one_slot_and_later_ones_use_it(layout: DataLayout, master_key: bytes) -> None:
    first = Vault.open(layout, master_key)
    first.close()
    second = Vault.open(layout, master_key)
    try:
        assert first.keys.kid == second.keys.kid == parse_identifier(Kind.KEY_SLOT, first.keys.kid)
        rows = second.database.run_now(lambda connection: connection.execute(sa.select(KEY_SLOTS)).all())
        assert [(row.kdf, row.wraps, row.retired_at) for row in rows] == [("hkdf-sha256/1", 0, None)]
        assert len(rows[0].wrapped_root) == 12 + 32 + 16
    finally:
        second.close()


def test_a_key_that_fits_no_slot_is_refused_and_the_file_is_as_it_was(layout: DataLayout, master_key: bytes) -> None:
    Vault.open(layout, master_key).close()
    before = layout.vault.read_bytes()
    for other in (bytes(32), master_key[:-1] + b"\x00"):
        with pytest.raises(VaultError, match="does not fit this vault"):
            Vault.open(layout, other)
        assert layout.vault.read_bytes() == before
    Vault.open(layout, master_key).close()


def test_a_retired_slot_is_not_opened(layout: DataLayout, master_key: bytes) -> None:
    vault = Vault.open(layout, master_key)
    with vault.wrapped_key("x"):
        pass
    vault.close()
    change(layout, KEY_SLOTS.update().values(retired_at="2026-01-01T00:00:00Z"))
    with pytest.raises(VaultError, match="no key slot"):
        Vault.open(layout, master_key)


def test_a_slot_that_was_altered_is_refused(layout: DataLayout, master_key: bytes) -> None:
    Vault.open(layout, master_key).close()
    for column, value in (("created_at", "x"), ("tenant_id", "tenant_y"), ("kdf", "none"), ("wrapped_root", b"short")):
        engine = make_engine(layout.vault)
        with engine.begin() as connection:
            old = connection.scalar(sa.select(KEY_SLOTS.c[column]))
        engine.dispose()
        change(layout, KEY_SLOTS.update().values({column: value}))
        with pytest.raises(VaultError, match="does not fit"):
            Vault.open(layout, master_key)
        change(layout, KEY_SLOTS.update().values({column: old}))
    Vault.open(layout, master_key).close()


def test_times_are_written_in_utc() -> None:
    berlin = datetime(2026, 6, 1, 14, 30, 15, 999, tzinfo=timezone(timedelta(hours=2)))
    assert slots.timestamp(berlin) == "2026-06-01T12:30:15Z"
    assert slots.system_clock().tzinfo is UTC
