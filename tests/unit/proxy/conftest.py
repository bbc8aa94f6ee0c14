"""Fixtures of the egress tests and the doors; what they are made of lies in tests/support/egress_house.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from egress_house import House, egress_house, guard_of

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.dial import Trust, make_trust
from mycelos.proxy.egress.guard import Guard


@pytest.fixture
def make_guard() -> Callable[..., Guard]:
    return guard_of


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def trust(authority_file: Path) -> Trust:
    return make_trust(authority_file)


@pytest.fixture
async def house(layout: DataLayout, trust: Trust, anyio_backend: str) -> AsyncIterator[House]:
    async with egress_house(layout.root, trust) as house:
        yield house
