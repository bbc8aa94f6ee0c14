"""Agents."""

from __future__ import annotations

import dataclasses

import pytest

from mycelos.gateway.store import Store

pytestmark = pytest.mark.anyio


async def test_an_agent_is_created_changed_found_and_deleted(store: Store) -> None:
    agent = await store.agents.create("gardener", "Be kind.", ("github.read",), "big")
    assert await store.agents.find("gardener") == agent
    changed = await store.agents.change(dataclasses.replace(agent, capabilities=("web",), model=None))
    assert changed is not None
    assert (changed.capabilities, changed.model, changed.id) == (("web",), None, agent.id)
    assert await store.agents.delete("gardener")
    assert not await store.agents.delete("gardener")
    assert await store.agents.change(agent) is None


async def test_the_first_agent_does_not_come_back_while_another_one_is_there(store: Store) -> None:
    await store.agents.create("gardener", "")
    await store.agents.delete("assistant")
    await store.agents.seed()
    assert [agent.name for agent in await store.agents.all()] == ["gardener"]
