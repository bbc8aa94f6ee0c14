"""The served page for every test of the gateway's front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from gateway_page import Page, served_page


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Page]]:
    """Serves a page with settings of the test's own."""
    return partial(served_page, tmp_path)


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Page]:
    """The page as a fresh installation serves it: loopback, no password."""
    async with served_page(tmp_path) as served:
        yield served
