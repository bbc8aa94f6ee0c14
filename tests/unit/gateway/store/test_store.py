"""Opening the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.gateway.store.store import Store
from mycelos.gateway.store.tables import METADATA


@pytest.mark.anyio
async def test_a_fresh_store_has_one_agent_that_may_use_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "g.sqlite")
    (agent,) = await store.agents.all()
    await store.close()
    assert (agent.name, agent.capabilities) == ("assistant", ())


def test_every_table_keeps_the_place_for_a_tenant() -> None:
    assert [table.name for table in METADATA.sorted_tables if "tenant_id" not in table.c] == []
