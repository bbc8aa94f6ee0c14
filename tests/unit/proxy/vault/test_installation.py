"""The name by which an installation is remembered outside of its data folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.installation import NAME_LENGTH, installation_of
from mycelos.proxy.vault.store import Vault


def test_a_new_vault_has_a_name_of_its_own_that_stays(layout: DataLayout, master_key: bytes) -> None:
    assert installation_of(layout.vault) is None
    vault = Vault.open(layout, master_key)
    # Also while the proxy has the vault open.
    name = installation_of(layout.vault)
    vault.close()
    assert name is not None
    assert len(name) == NAME_LENGTH
    Vault.open(layout, master_key).close()
    assert installation_of(layout.vault) == name


def test_who_adopts_a_copy_gets_another_name(layout: DataLayout, master_key: bytes) -> None:
    Vault.open(layout, master_key).close()
    before = installation_of(layout.vault)
    Vault.open(layout, master_key, adopt=True).close()
    assert installation_of(layout.vault) not in {before, None}
    Vault.open(layout, master_key).close()


@pytest.mark.parametrize("name", ["../../../etc", "", "A" * NAME_LENGTH, "a" * (NAME_LENGTH + 1), None, b"a" * 32])
def test_what_is_no_name_names_no_folder_and_stops_the_next_opening(
    layout: DataLayout, master_key: bytes, name: object
) -> None:
    Vault.open(layout, master_key).close()
    connection = sqlite3.connect(layout.vault)
    if name is None:
        connection.execute("DELETE FROM operator_settings")
    else:
        text = name.decode() + "/" if isinstance(name, bytes) else name
        connection.execute("UPDATE operator_settings SET value = ?", (text,))
    connection.commit()
    connection.close()
    assert installation_of(layout.vault) is None
    with pytest.raises(VaultError, match="altered, removed or put back"):
        Vault.open(layout, master_key)


@pytest.fixture(params=[b"", b"no database", b"SQLite format 3\x00"])
def other_file(request: pytest.FixtureRequest, layout: DataLayout) -> Iterator[DataLayout]:
    layout.proxy.mkdir(mode=0o700)
    layout.vault.write_bytes(request.param)
    return layout


def test_a_file_that_is_no_vault_has_no_name(other_file: DataLayout) -> None:
    assert installation_of(other_file.vault) is None
