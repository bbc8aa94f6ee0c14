"""Every address that the kernel takes for this machine's own: it is this machine, whatever class the address has."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.proxy.egress.address_changes import AddressChanges
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.proxy.egress.special_addresses import IpAddress, Network

# RTF_LOCAL and RTF_ANYCAST of linux/ipv6_route.h: what is sent there is delivered here.
_DELIVERED_HERE: Final = 0x80100000


@dataclass(frozen=True)
class _Reading:
    """What the kernel's tables held. Nearly always ``networks`` are few and ``addresses`` many."""

    addresses: frozenset[IpAddress]
    networks: tuple[Network, ...]

    def holds(self, address: IpAddress) -> bool:
        return address in self.addresses or any(
            address.version == network.version and address in network for network in self.networks
        )


class OwnAddresses:
    """Reads the kernel's tables whenever ``changes`` tells of one; without a subscription, at each question."""

    def __init__(self, process_net: Path = Path("/proc/net"), changes: AddressChanges | None = None) -> None:
        self._process_net = process_net
        self._changes = AddressChanges(None) if changes is None else changes
        self._reading: _Reading | None = None

    def holds(self, address: IpAddress) -> bool:
        """Whether what is sent to ``address`` arrives at this machine.

        Raises:
            Refusal: `internal`, where the kernel does not tell: nothing is known, so nothing is dialled.
        """
        # Kept again only when all of it has gone well.
        reading, self._reading = self._reading, None
        try:
            # Asked before the tables are read: what changes meanwhile is told at the next question.
            if self._changes.happened() or reading is None:
                reading = self._read()
        except (OSError, ValueError, IndexError):
            raise Refusal(
                ProblemCode.INTERNAL,
                "The machine's own addresses cannot be read.",
                "Check that /proc/net is readable in the proxy's process.",
            ) from None
        self._reading = reading
        return reading.holds(address)

    def _read(self) -> _Reading:
        found: list[Network] = self._read_ipv4()
        # A kernel without IPv6 has neither file. The first has what is not yet in use, the second has the routes.
        for name, read in (("if_inet6", _interface_address), ("ipv6_route", _local_route)):
            table = self._process_net / name
            lines = table.read_text("ascii").splitlines() if table.exists() else []
            found += [network for line in lines if (network := read(line.split())) is not None]
        return _Reading(
            frozenset(network.network_address for network in found if network.num_addresses == 1),
            # A route for everything is a transparent proxy's, for marked packets alone, and says nothing of an address.
            tuple({network for network in found if network.num_addresses > 1 and network.prefixlen > 0}),
        )

    def _read_ipv4(self) -> list[Network]:
        found: list[Network] = []
        leaf = ""
        for line in (self._process_net / "fib_trie").read_text("ascii").splitlines():
            # A leaf `|-- 192.0.2.0`, then a line for each route that begins there: `/24 host LOCAL`.
            fields = line.split()
            if fields[:1] == ["|--"]:
                leaf = fields[1]
            elif fields[2:3] == ["LOCAL"]:
                found.append(ipaddress.IPv4Network(f"{leaf}{fields[0]}"))
        return found


def _interface_address(fields: list[str]) -> Network:
    return ipaddress.IPv6Network(int(fields[0], 16))


def _local_route(fields: list[str]) -> Network | None:
    if not int(fields[8], 16) & _DELIVERED_HERE:
        return None
    return ipaddress.IPv6Network((int(fields[0], 16), int(fields[1], 16)))
