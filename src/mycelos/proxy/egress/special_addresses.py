"""Which addresses are not the public internet: a table of our own, so that no library's version decides.

Source: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) with the RFCs that fill them, compiled
2026-11-22, taken more strictly: a block is refused whole even where the registry carves a reachable piece out of
it. Added: multicast, site-local (RFC 3879), and addresses at which cloud platforms serve credentials.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Final

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


_TABLE: Final = (
    # Platform addresses first: the narrowest statement about an address is the one to report.
    ("168.63.129.16/32", AddressClass.METADATA, "Azure's platform address"),
    ("100.100.100.200/32", AddressClass.METADATA, "Alibaba Cloud's metadata service"),
    ("192.0.0.192/32", AddressClass.METADATA, "Oracle Cloud's metadata service"),
    ("161.26.0.0/16", AddressClass.METADATA, "IBM Cloud's platform services"),
    ("166.8.0.0/14", AddressClass.METADATA, "IBM Cloud's service endpoints"),
    ("fd00:ec2::/32", AddressClass.METADATA, "AWS's instance services"),
    ("fd20:ce::/32", AddressClass.METADATA, "Google Cloud's metadata service"),
    ("fd00:42::/32", AddressClass.METADATA, "Scaleway's metadata service"),
    ("0.0.0.0/8", AddressClass.RESERVED, "this network, RFC 791"),
    ("10.0.0.0/8", AddressClass.PRIVATE, "private use, RFC 1918"),
    ("100.64.0.0/10", AddressClass.SHARED, "shared address space, RFC 6598"),
    ("127.0.0.0/8", AddressClass.LOOPBACK, "loopback, RFC 1122"),
    ("169.254.0.0/16", AddressClass.LINK_LOCAL, "link-local and metadata services, RFC 3927"),
    ("172.16.0.0/12", AddressClass.PRIVATE, "private use, RFC 1918"),
    ("192.0.0.0/24", AddressClass.RESERVED, "IETF protocol assignments, RFC 6890"),
    ("192.0.2.0/24", AddressClass.DOCUMENTATION, "TEST-NET-1, RFC 5737"),
    ("192.31.196.0/24", AddressClass.RESERVED, "AS112, RFC 7535"),
    ("192.52.193.0/24", AddressClass.RESERVED, "AMT, RFC 7450"),
    ("192.88.99.0/24", AddressClass.TRANSITION, "6to4 relay anycast, RFC 7526"),
    ("192.168.0.0/16", AddressClass.PRIVATE, "private use, RFC 1918"),
    ("192.175.48.0/24", AddressClass.RESERVED, "AS112, RFC 7534"),
    ("198.18.0.0/15", AddressClass.RESERVED, "benchmarking, RFC 2544"),
    ("198.51.100.0/24", AddressClass.DOCUMENTATION, "TEST-NET-2, RFC 5737"),
    ("203.0.113.0/24", AddressClass.DOCUMENTATION, "TEST-NET-3, RFC 5737"),
    ("224.0.0.0/4", AddressClass.MULTICAST, "multicast, RFC 5771"),
    ("240.0.0.0/4", AddressClass.RESERVED, "reserved and broadcast, RFC 1112"),
    ("::/128", AddressClass.RESERVED, "unspecified, RFC 4291"),
    ("::1/128", AddressClass.LOOPBACK, "loopback, RFC 4291"),
    ("::/96", AddressClass.TRANSITION, "IPv4-compatible, RFC 4291"),
    ("::ffff:0:0/96", AddressClass.TRANSITION, "IPv4-mapped, RFC 4291"),
    ("::ffff:0:0:0/96", AddressClass.TRANSITION, "IPv4-translated, RFC 2765"),
    ("64:ff9b:1::/48", AddressClass.TRANSITION, "local-use translation, RFC 8215"),
    ("100::/64", AddressClass.RESERVED, "discard-only, RFC 6666"),
    ("100:0:0:1::/64", AddressClass.RESERVED, "dummy prefix, RFC 9780"),
    ("2001::/32", AddressClass.TRANSITION, "Teredo, RFC 4380"),
    ("2001::/23", AddressClass.RESERVED, "IETF protocol assignments, RFC 2928"),
    ("2001:db8::/32", AddressClass.DOCUMENTATION, "documentation, RFC 3849"),
    ("2002::/16", AddressClass.TRANSITION, "6to4, RFC 3056"),
    ("2620:4f:8000::/48", AddressClass.RESERVED, "AS112, RFC 7534"),
    ("3fff::/20", AddressClass.DOCUMENTATION, "documentation, RFC 9637"),
    ("5f00::/16", AddressClass.RESERVED, "segment routing SIDs, RFC 9602"),
    ("fc00::/7", AddressClass.PRIVATE, "unique local, RFC 4193"),
    ("fe80::/10", AddressClass.LINK_LOCAL, "link-local, RFC 4291"),
    ("fec0::/10", AddressClass.RESERVED, "site-local, RFC 3879"),
    ("ff00::/8", AddressClass.MULTICAST, "multicast, RFC 4291"),
)

SPECIAL: Final[tuple[tuple[Network, AddressClass, str], ...]] = tuple(
    (ipaddress.ip_network(prefix), address_class, why) for prefix, address_class, why in _TABLE
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
