"""Which addresses are not the public internet: a table of our own, so that no library's version decides.

The table is written from the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) and a list of
additions: see scripts/registries. It is taken strictly: what the registries carve out of a refused block stays
refused, for what is assigned there is a protocol's and no host's.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Final

from mycelos.proxy.egress.address_table import ROWS

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressClass(StrEnum):
    """What an address is for."""

    GLOBAL = "global"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    OWN = "own"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    SHARED = "shared"
    MULTICAST = "multicast"
    DOCUMENTATION = "documentation"
    TRANSITION = "transition"
    RESERVED = "reserved"


SPECIAL: Final[tuple[tuple[Network, AddressClass, str], ...]] = tuple(
    (ipaddress.ip_network(prefix), AddressClass(address_class), why) for prefix, address_class, why in ROWS
)
"""Prefix, class and reason; the first prefix that holds an address speaks for it."""

GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The one part of IPv6 that is assigned to the public internet (RFC 4291, section 2.4)."""

NAT64_WELL_KNOWN: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Translation by the network to public IPv4 (RFC 6052); judged by the IPv4 address inside."""

_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_LAST_32_BITS: Final = tuple(
    ipaddress.IPv6Network(prefix) for prefix in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
# RFC 5214, section 6.1: the two interface identifiers of ISATAP, under any prefix.
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


def embedded_v4(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Each IPv4 address that a router or host may take out of ``address``."""
    number = int(address)
    low = number & 0xFFFFFFFF
    found: list[int] = []
    if any(address in prefix for prefix in _LAST_32_BITS) and number not in {0, 1}:
        found.append(low)
    if address in _NAT64_LOCAL:
        # RFC 6052, section 2.2: with a /48 the eight bits from 64 on are skipped; with a /96 the last 32 count.
        found += [low, ((number >> 64 & 0xFFFF) << 16) | (number >> 40 & 0xFFFF)]
    if address in _SIX_TO_FOUR:
        found.append(number >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        found += [number >> 64 & 0xFFFFFFFF, low ^ 0xFFFFFFFF]
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(low)
    return tuple(map(ipaddress.IPv4Address, found))
