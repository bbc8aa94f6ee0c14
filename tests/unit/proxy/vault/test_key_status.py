from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.tables import KEY_SLOTS
from mycelos.proxy.vault.envelope import WRAP_LIMIT
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.key_status import read_key_status
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import LEDGER_MAC_KEY, KeySource, KeyStatus

pytestmark = pytest.mark.anyio


def status(vault: Vault, layout: DataLayout) -> KeyStatus:
    return vault.database.run_now(lambda connection: read_key_status(connection, layout, KeySource.FILE))


async def test_it_counts_and_names_and_tells_no_key(
    vault: Vault, layout: DataLayout, binding: Callable[..., Any], master_key: bytes
) -> None:
    await vault.store("one", "", (binding(),), "first-secret")
    with vault.wrapped_key(LEDGER_MAC_KEY) as key:
        value = key.reveal()
    found = status(vault, layout)
    assert (found.slot, found.wraps, found.wraps_limit, found.records) == (vault.keys.kid, 2, WRAP_LIMIT, 1)
    assert [(key.name, key.id, key.retired_at) for key in found.keys] == [
        (LEDGER_MAC_KEY, vault.long_lived.in_use(LEDGER_MAC_KEY).key_id, None)
    ]
    assert not found.is_unfinished
    text = msgspec.json.encode(found).decode()
    for secret in (value, master_key):
        assert base64.b64encode(secret).decode() not in text
        assert secret.hex() not in text


@pytest.mark.parametrize("name", [".master_key.next", ".master_key.next.draft"])
def test_a_rotation_that_was_cut_short_shows(vault: Vault, layout: DataLayout, name: str) -> None:
    (layout.root / name).symlink_to("nowhere")
    assert status(vault, layout).is_unfinished


def test_a_vault_without_a_slot_says_what_makes_one(vault: Vault, layout: DataLayout) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(KEY_SLOTS.update().values(retired_at="2026-01-01T00:00:00Z"))
        with pytest.raises(VaultError, match="mycelos serve"):
            read_key_status(connection, layout, KeySource.FILE)

    vault.database.run_now(work)
