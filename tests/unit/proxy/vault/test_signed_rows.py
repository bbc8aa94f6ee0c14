from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from mycelos.proxy.operator_settings import SIGNED_SETTINGS, OperatorSettings, Setting
from mycelos.proxy.tables import KEY_SLOTS, OPERATOR_SETTINGS
from mycelos.proxy.vault.envelope import SlotKeys
from mycelos.proxy.vault.signed_rows import AlteredRowError
from mycelos.proxy.vault.store import Vault

NEW = SlotKeys("kid_new", bytes(32))


def write(connection: sa.Connection, vault: Vault) -> None:
    settings = OperatorSettings(vault.keys)
    settings.write(connection, Setting.WEB, "off")
    settings.write(connection, Setting.LOCKDOWN, "{}")
    slot = connection.execute(sa.select(KEY_SLOTS)).one()._asdict()
    connection.execute(KEY_SLOTS.insert().values({**slot, "kid": NEW.kid}))


def test_rows_go_from_the_keys_of_one_slot_to_those_of_another(vault: Vault) -> None:
    def work(connection: sa.Connection) -> None:
        write(connection, vault)
        # The name of the installation is a setting too.
        assert SIGNED_SETTINGS.demand(connection, vault.keys.slot) == 3
        assert SIGNED_SETTINGS.rewrite(connection, vault.keys.slot, NEW) == 3
        assert SIGNED_SETTINGS.demand(connection, NEW) == 3
        with pytest.raises(AlteredRowError):
            SIGNED_SETTINGS.demand(connection, vault.keys.slot)

    vault.database.run_now(work)


@pytest.mark.parametrize("change", [{"value": "on"}, {"row_mac": bytes(32)}, {"changed_at": "2020-01-01T00:00:00Z"}])
def test_a_row_that_was_altered_gets_no_new_mac(vault: Vault, change: dict[str, Any]) -> None:
    def work(connection: sa.Connection) -> None:
        write(connection, vault)
        connection.execute(OPERATOR_SETTINGS.update().where(OPERATOR_SETTINGS.c.name == "web").values(change))
        with pytest.raises(AlteredRowError) as caught:
            SIGNED_SETTINGS.rewrite(connection, vault.keys.slot, NEW)
        assert caught.value.table == "operator_settings"
        assert caught.value.row.endswith(" web")

    vault.database.run_now(work)


def test_without_the_check_an_altered_row_would_be_made_good(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(connection: sa.Connection) -> None:
        write(connection, vault)
        connection.execute(OPERATOR_SETTINGS.update().where(OPERATOR_SETTINGS.c.name == "web").values(value="on"))
        with monkeypatch.context() as patch:
            patch.setattr(SlotKeys, "row_holds", lambda *_: True)
            SIGNED_SETTINGS.rewrite(connection, vault.keys.slot, NEW)
        assert SIGNED_SETTINGS.demand(connection, NEW) == 3

    vault.database.run_now(work)
