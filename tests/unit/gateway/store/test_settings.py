"""Settings of the page."""

from __future__ import annotations

import pytest

from mycelos.gateway.store import Store


@pytest.mark.anyio
async def test_a_setting_holds_any_json_value_and_is_replaced(store: Store) -> None:
    assert await store.settings.get("theme") is None
    for value in ({"dark": True}, [1, "two"], "text"):
        await store.settings.set("theme", value)
        assert await store.settings.get("theme") == value
