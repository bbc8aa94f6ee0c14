"""Model endpoints."""

from __future__ import annotations

import pytest

from mycelos.gateway.store import Store
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


async def test_an_endpoint_is_created_found_and_deleted_and_the_oldest_stands_first(store: Store) -> None:
    big = await store.models.create("zz-big", "openai", "https://a.test/v1", "big", "service")
    small = await store.models.create("small", "anthropic", "https://b.test", "small", None)
    assert await store.models.all() == [big, small]
    assert await store.models.find("small") == small
    assert await store.models.find("none") is None
    with pytest.raises(Refusal, match="conflict"):
        await store.models.create("small", "openai", "https://a.test/v1", "x", None)
    assert await store.models.delete("small")
    assert not await store.models.delete("small")
