"""The served page for every test of the gateway's front."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_PLACE = Path(__file__).resolve().parents[2] / "gateway_page.py"
_spec = importlib.util.spec_from_file_location("gateway_page", _PLACE)
assert _spec is not None
assert _spec.loader is not None
gateway_page = sys.modules.setdefault("gateway_page", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(gateway_page)


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Serves a page with settings of the test's own."""
    return partial(gateway_page.served_page, tmp_path)


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Any]:
    """The page as a fresh installation serves it: loopback, no password."""
    async with gateway_page.served_page(tmp_path) as served:
        yield served
