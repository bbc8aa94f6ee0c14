"""A vault with a fixed master key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule

MASTER_KEY = bytes(range(32))


def make_binding(host: str = "api.example.com", port: int = 443, confirm: bool = False) -> Binding:
    return Binding(
        v=1,
        scheme="https",
        host=host,
        port=port,
        methods=(Method.GET,),
        path=("v1",),
        query="any",
        inject=Bearer(),
        response=ResponseRule(set_cookie="drop", location_query="redact"),
        confirm=confirm,
        quota=None,
    )


@pytest.fixture
def master_key() -> bytes:
    return MASTER_KEY


@pytest.fixture
def binding() -> Callable[..., Binding]:
    return make_binding


@pytest.fixture
def vault(layout: DataLayout) -> Iterator[Vault]:
    opened = Vault.open(layout, MASTER_KEY)
    yield opened
    opened.close()
