"""The vault page on a real port, before and after somebody has signed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from neighbour import Neighbour, neighbour
from vault_page import ServedVaultPage, served_vault_page


@pytest.fixture
def page(operator_system: Any) -> Iterator[ServedVaultPage]:
    with served_vault_page(operator_system.layout) as served:
        yield served


@pytest.fixture
def signed_in(operator_system: Any, page: ServedVaultPage) -> ServedVaultPage:
    assert page.sign_in(operator_system.client.create_link().code).status_code == 303
    return page


@pytest.fixture
def other_port() -> Iterator[Neighbour]:
    with neighbour() as running:
        yield running
