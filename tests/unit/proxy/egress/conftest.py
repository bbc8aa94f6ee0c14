"""Stand-ins for the rest of the proxy, and real sockets on loopback for the outside."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mycelos.proxy.egress.guard import Guard, OpenedAddresses
from mycelos.proxy.egress.own_addresses import OwnAddresses

if TYPE_CHECKING:
    from collections.abc import Callable


class KnownOwnAddresses(OwnAddresses):
    """Own addresses as a test says."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(Path("/nowhere"))
        self.known = frozenset(map(ipaddress.ip_address, addresses))

    def current(self) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        return self.known


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
