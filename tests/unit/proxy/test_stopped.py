from __future__ import annotations

import asyncio
import base64
import shutil
from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.rollback import WAYS_ON
from mycelos.proxy.stopped import stopped_keys, stopped_status
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, load_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import KeySource

pytestmark = pytest.mark.anyio


@pytest.fixture
def made(layout: DataLayout) -> DataLayout:
    create_master_key(layout)
    Vault.open(layout, load_master_key(layout, None)).close()
    return layout


async def test_a_stopped_system_is_rotated_on_record(made: DataLayout) -> None:
    before = load_master_key(made, None)
    async with stopped_keys(made, None) as keys:
        rotated = await keys.rotate_master()
    assert load_master_key(made, None) != before
    assert stopped_status(made, None).slot == rotated.key_id
    with LedgerReader(made.ledger) as reader:
        found = [entry for entry in reader.after(-1, 100) if entry.event == Event.KEY_ROTATED.value]
    assert [(entry.phase, entry.outcome) for entry in found] == [("intent", ""), ("outcome", "ok")]


async def test_what_a_killed_process_left_is_settled_first(made: DataLayout) -> None:
    key = load_master_key(made, None)
    made.master_key.rename(made.master_key_next)
    made.master_key.write_bytes(base64.b64encode(bytes(32)))
    made.master_key.chmod(0o600)
    assert stopped_status(made, None).is_unfinished
    async with stopped_keys(made, None):
        assert load_master_key(made, None) == key
    assert not stopped_status(made, None).is_unfinished


async def test_beside_a_running_proxy_nothing_is_opened(made: DataLayout) -> None:
    vault = Vault.open(made, load_master_key(made, None))
    try:
        with pytest.raises(VaultError, match="has the vault"):
            async with stopped_keys(made, None):
                pass
        with pytest.raises(VaultError, match="has the vault"):
            stopped_status(made, None)
    finally:
        vault.close()


async def test_where_there_is_no_vault_none_is_made(layout: DataLayout) -> None:
    with pytest.raises(VaultError, match="There is no vault"):
        async with stopped_keys(layout, bytes(32)):
            pass
    with pytest.raises(VaultError, match="There is no vault"):
        stopped_status(layout, None)
    assert list(layout.root.iterdir()) == []


async def test_where_the_vault_is_lost_no_start_is_named_that_would_be_refused(made: DataLayout) -> None:
    async with stopped_keys(made, None) as keys:
        await keys.rotate_master()
    made.vault.unlink()
    for look in (stopped_keys(made, None).__aenter__, lambda: asyncio.to_thread(stopped_status, made, None)):
        with pytest.raises(VaultError, match="the ledger's entry [0-9]+ speaks of one") as caught:
            await look()
        assert caught.value.next_step == WAYS_ON
    assert not made.vault.exists()


async def test_a_status_needs_no_key_and_says_where_it_would_come_from(made: DataLayout) -> None:
    made.master_key.unlink()
    assert stopped_status(made, bytes(32)).source is KeySource.ENVIRONMENT
    assert stopped_status(made, None).source is KeySource.FILE


async def test_a_key_that_does_not_fit_changes_nothing(made: DataLayout, tmp_path: Path) -> None:
    made.master_key.unlink()
    shutil.copytree(made.root, tmp_path / "before")
    with pytest.raises(VaultError, match="does not fit"):
        async with stopped_keys(made, bytes(32)):
            pass
    assert made.vault.read_bytes() == (tmp_path / "before" / "proxy" / made.vault.name).read_bytes()
    assert not made.ledger.exists()
