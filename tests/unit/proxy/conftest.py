"""Fixtures of the egress tests and the doors; what they are made of lies in tests/support/egress_house.py."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from egress_house import House, KnownOwnAddresses, ListedResolver

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.dial import Trust, make_trust
from mycelos.proxy.egress.guard import Guard, OpenedAddresses
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.store import Vault


@pytest.fixture
def make_guard() -> Callable[..., Guard]:
    def make(
        opened: dict[tuple[str, int], list[str]] | None = None,
        own: tuple[str, ...] = ("127.0.0.1",),
        listeners: frozenset[int] = frozenset(),
        machine_name: str = "this-machine.example",
    ) -> Guard:
        pinned = {key: frozenset(map(ipaddress.ip_address, values)) for key, values in (opened or {}).items()}
        return Guard(KnownOwnAddresses(*own), OpenedAddresses(pinned), listeners, machine_name)

    return make


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
async def house(
    layout: DataLayout, make_guard: Callable[..., Guard], trust: Trust, anyio_backend: str
) -> AsyncIterator[House]:
    vault = Vault.open(layout, bytes(range(32)))
    recorder = await Recorder.open(layout.ledger)
    client = HttpClient(trust)
    try:
        yield House(vault, EgressRules.open(vault.database, vault.keys), recorder, ListedResolver(), client, make_guard)
    finally:
        client.close()
        await recorder.close()
        vault.close()
