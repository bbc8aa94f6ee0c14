from __future__ import annotations

import shutil

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.tables import KEY_SLOTS, WRAPPED_KEYS
from mycelos.proxy.vault.envelope import WRAP_LIMIT, SlotKeys
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError
from mycelos.proxy.vault.long_lived_keys import demand_keys
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import LEDGER_MAC_KEY, LEDGER_SIGNING_KEY
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


def reveal(vault: Vault, name: str) -> bytes:
    with vault.wrapped_key(name) as key:
        return key.reveal()


def copy_of(layout: DataLayout) -> DataLayout:
    """What a process that starts now would find; nothing is being written."""
    copy = DataLayout(layout.root.parent / "copy")
    shutil.copytree(layout.root, copy.root)
    return copy


def rows(vault: Vault, name: str) -> list[sa.Row]:
    return vault.database.run_now(
        lambda connection: connection.execute(
            sa.select(WRAPPED_KEYS).where(WRAPPED_KEYS.c.name == name).order_by(WRAPPED_KEYS.c.id)
        ).all()
    )


async def test_a_key_that_is_replaced_is_retired_and_another_is_in_use_over_a_restart(
    vault: Vault, layout: DataLayout, master_key: bytes
) -> None:
    before = reveal(vault, LEDGER_MAC_KEY)
    old, new = vault.long_lived.in_use(LEDGER_MAC_KEY), vault.long_lived.make(LEDGER_MAC_KEY)
    await vault.long_lived.replace(old, new)
    after = reveal(vault, LEDGER_MAC_KEY)
    assert after != before
    retired, used = rows(vault, LEDGER_MAC_KEY)
    assert (retired.id, used.id) == (old.key_id, new.key_id)
    assert retired.retired_at is not None
    assert used.retired_at is None
    # Digests that were made under it can still be checked.
    assert retired.wrapped_key == old.wrapped_key
    again = Vault.open(copy_of(layout), master_key)
    assert reveal(again, LEDGER_MAC_KEY) == after
    again.close()


async def test_a_signing_key_that_is_retired_is_destroyed(vault: Vault, layout: DataLayout) -> None:
    reveal(vault, LEDGER_SIGNING_KEY)
    old = vault.long_lived.in_use(LEDGER_SIGNING_KEY)
    await vault.long_lived.replace(old, vault.long_lived.make(LEDGER_SIGNING_KEY))
    retired, _ = rows(vault, LEDGER_SIGNING_KEY)
    assert retired.wrapped_key == b""
    vault.database.run_now(lambda connection: demand_keys(connection, vault.keys.slot))
    vault.database.alone_now(vault.database.checkpoint)
    assert all(old.wrapped_key not in path.read_bytes() for path in layout.proxy.iterdir())


async def test_of_two_changes_at_once_one_is_told(vault: Vault) -> None:
    reveal(vault, LEDGER_MAC_KEY)
    old = vault.long_lived.in_use(LEDGER_MAC_KEY)
    one, other = vault.long_lived.make(LEDGER_MAC_KEY), vault.long_lived.make(LEDGER_MAC_KEY)
    await vault.long_lived.replace(old, one)
    with pytest.raises(Refusal) as caught:
        await vault.long_lived.replace(old, other)
    assert caught.value.problem.code is ProblemCode.CONFLICT
    assert vault.long_lived.in_use(LEDGER_MAC_KEY) == one
    assert len(rows(vault, LEDGER_MAC_KEY)) == 2


async def test_a_new_key_under_a_slot_that_is_no_longer_in_use_is_not_written(vault: Vault) -> None:
    reveal(vault, LEDGER_MAC_KEY)
    old, new = vault.long_lived.in_use(LEDGER_MAC_KEY), vault.long_lived.make(LEDGER_MAC_KEY)
    before = vault.keys.slot
    vault.keys.replace(SlotKeys("kid_other", bytes(32)))
    try:
        with pytest.raises(Refusal):
            await vault.long_lived.replace(old, new)
    finally:
        vault.keys.replace(before)
    assert vault.long_lived.in_use(LEDGER_MAC_KEY) == old


async def test_a_key_counts_as_a_wrap_and_at_the_limit_none_is_made(vault: Vault) -> None:
    reveal(vault, LEDGER_MAC_KEY)
    slot = vault.database.run_now(lambda connection: connection.execute(sa.select(KEY_SLOTS)).one())
    assert slot.wraps == 1
    vault.database.run_now(lambda connection: connection.execute(KEY_SLOTS.update().values(wraps=WRAP_LIMIT)))
    old, new = vault.long_lived.in_use(LEDGER_MAC_KEY), vault.long_lived.make(LEDGER_MAC_KEY)
    with pytest.raises(Refusal) as caught:
        await vault.long_lived.replace(old, new)
    assert "mycelos key rotate" in caught.value.problem.next
    assert vault.long_lived.in_use(LEDGER_MAC_KEY) == old


async def test_a_key_that_was_altered_does_not_open(vault: Vault, layout: DataLayout, master_key: bytes) -> None:
    reveal(vault, LEDGER_MAC_KEY)
    vault.database.run_now(lambda connection: connection.execute(WRAPPED_KEYS.update().values(wrapped_key=bytes(60))))
    with pytest.raises(SealBrokenError):
        vault.database.run_now(lambda connection: demand_keys(connection, vault.keys.slot))
    again = Vault.open(copy_of(layout), master_key)
    with pytest.raises(VaultError, match="altered outside"):
        again.wrapped_key(LEDGER_MAC_KEY)
    again.close()
