from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.operator_settings import AlteredSettingError, OperatorSettings, Setting
from mycelos.proxy.tables import OPERATOR_SETTINGS
from mycelos.proxy.vault.store import Vault


@pytest.fixture
def vault(layout: DataLayout) -> Iterator[Vault]:
    opened = Vault.open(layout, bytes(32))
    yield opened
    opened.close()


WEB_ROW = sa.update(OPERATOR_SETTINGS).where(OPERATOR_SETTINGS.c.name == Setting.WEB.value)


def write(vault: Vault, setting: Setting, value: str) -> None:
    vault.database.run_now(lambda connection: OperatorSettings(vault.keys).write(connection, setting, value))


def read(vault: Vault, setting: Setting) -> str | None:
    return vault.database.run_now(lambda connection: OperatorSettings(vault.keys).read(connection, setting))


def test_a_setting_is_what_was_written_last_and_none_before(vault: Vault) -> None:
    assert read(vault, Setting.WEB) is None
    write(vault, Setting.WEB, "on")
    write(vault, Setting.WEB, "off")
    write(vault, Setting.LOCKDOWN, "x")
    assert (read(vault, Setting.WEB), read(vault, Setting.LOCKDOWN)) == ("off", "x")


@pytest.mark.parametrize("column", ["value", "changed_at", "row_mac", "kid"])
def test_a_row_that_was_altered_outside_is_not_read(vault: Vault, column: str) -> None:
    write(vault, Setting.WEB, "off")
    value = bytes(32) if column == "row_mac" else "on"

    def alter(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        attempt = connection.begin_nested()
        connection.execute(WEB_ROW.values({column: value}))
        with pytest.raises(AlteredSettingError):
            OperatorSettings(vault.keys).read(connection, Setting.WEB)
        attempt.rollback()

    vault.database.run_now(alter)


def test_the_row_of_one_setting_is_not_believed_under_the_name_of_another(vault: Vault) -> None:
    write(vault, Setting.WEB, "on")
    vault.database.run_now(lambda connection: connection.execute(WEB_ROW.values(name="lockdown")))
    with pytest.raises(AlteredSettingError):
        read(vault, Setting.LOCKDOWN)


def test_without_the_mac_an_altered_row_would_be_read(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    write(vault, Setting.WEB, "off")
    vault.database.run_now(lambda connection: connection.execute(WEB_ROW.values(value="on")))
    monkeypatch.setattr(type(vault.keys), "row_holds", lambda *_: True)
    assert read(vault, Setting.WEB) == "on"
