"""May this address be dialled? Denied unless it is on the public internet, or opened by the operator, exactly.

All answers of a name are judged and one bad answer refuses the name: what could be dialled is what was checked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.proxy.egress.special_addresses import (
    GLOBAL_UNICAST,
    NAT64_WELL_KNOWN,
    SPECIAL,
    AddressClass,
    IpAddress,
    embedded_v4,
)
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mycelos.proxy.egress.own_addresses import OwnAddresses
    from mycelos.proxy.egress.url import CanonicalUrl

LIFTABLE: Final = frozenset({AddressClass.PRIVATE, AddressClass.LOOPBACK, AddressClass.OWN})
"""The classes that an opened host may have. Link-local, metadata and the rest stay refused."""

MAXIMUM_ADDRESSES: Final = 32
_OPEN_IT: Final = "Use a public host, or open this exact host and port with MYCELOS_EGRESS_OPEN if you run the machine."
_NEVER_OPENED: Final = "Use a public host; addresses of this kind are never dialled, and no setting opens them."
_OWN_PORT: Final = "Use another service; a port of Mycelos itself is never dialled, and no setting opens it."
_CHANGED: Final = "If the change is wanted, restart Mycelos: the addresses of an opened host are pinned at the start."

# Names that mean the machine or the network at hand (RFC 6761, 6762, 7686, 8375, 9476) or a platform's metadata.
_INTERNAL_SUFFIXES: Final = (
    "alt",
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
)
_PLATFORM_NAMES: Final = frozenset(
    {
        "api.metadata.cloud.ibm.com",
        "metadata.goog",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    }
)


@dataclass(frozen=True)
class Judgement:
    """What an address is, and why."""

    address_class: AddressClass
    reason: str


class Blocked(Refusal):
    """The guard's refusal (`ssrf_blocked`). ``address_class`` is empty where a name was refused."""

    def __init__(self, reason: str, address_class: str = "", next_step: str | None = None) -> None:
        if next_step is None:
            # What can never be opened must not be advised to be.
            next_step = _OPEN_IT if address_class in {"", *LIFTABLE} else _NEVER_OPENED
        super().__init__(ProblemCode.SSRF_BLOCKED, f"Not dialled: {reason}.", next_step)
        self.reason = reason
        self.address_class = address_class


def classify(address: IpAddress) -> Judgement:
    """Judge one address by the table alone; the worst of the address itself and each IPv4 address inside it."""
    if isinstance(address, ipaddress.IPv6Address):
        for inner in embedded_v4(address):
            judgement = classify(inner)
            if judgement.address_class is not AddressClass.GLOBAL:
                # Never the liftable class of the inner address: only the plain spelling can be opened.
                return Judgement(AddressClass.TRANSITION, f"carries {judgement.reason}")
    for network, address_class, why in SPECIAL:
        if address.version == network.version and address in network:
            return Judgement(address_class, why)
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST and address not in NAT64_WELL_KNOWN:
        return Judgement(AddressClass.RESERVED, "outside the IPv6 space of the public internet")
    return Judgement(AddressClass.GLOBAL, "public")


@dataclass(frozen=True)
class OpenedAddresses:
    """Opened hosts: the exact (host, port) pairs, each with the addresses pinned at start."""

    pinned: Mapping[tuple[str, int], frozenset[IpAddress]]

    def find(self, url: CanonicalUrl) -> frozenset[IpAddress] | None:
        """The pinned addresses of this host and port, or None where it is not opened."""
        return self.pinned.get((url.host, url.port))


class Guard:
    """The table, the machine's own addresses, the operator's exceptions, and the ports that Mycelos listens on."""

    def __init__(
        self, own: OwnAddresses, opened: OpenedAddresses, listener_ports: frozenset[int], machine_name: str
    ) -> None:
        self._own = own
        self._opened = opened
        self._listener_ports = listener_ports
        self._machine_name = machine_name.lower()

    def is_opened(self, url: CanonicalUrl) -> bool:
        """Whether the operator has opened this exact host and port."""
        return self._opened.find(url) is not None

    def judge_host(self, url: CanonicalUrl) -> None:
        """Judge what needs no resolver: an address written in the URL, or a name that means this network.

        Raises:
            Blocked: the host is never dialled.
        """
        if url.address is not None:
            self.judge_addresses(url, (url.address,))
        elif self._opened.find(url) is None:
            last_label = url.host.rpartition(".")[2]
            if url.host in {last_label, self._machine_name, *_PLATFORM_NAMES}:
                _block("a name of this machine, network or platform")
            if any(url.host == suffix or url.host.endswith(f".{suffix}") for suffix in _INTERNAL_SUFFIXES):
                _block("a name that has no meaning on the public internet")

    def judge_addresses(self, url: CanonicalUrl, addresses: Sequence[IpAddress]) -> tuple[IpAddress, ...]:
        """The addresses of ``url``, each of which may be dialled.

        Raises:
            Blocked: one of them may not, or there is none.
        """
        if not 0 < len(addresses) <= MAXIMUM_ADDRESSES:
            _block(f"a name needs 1 to {MAXIMUM_ADDRESSES} addresses")
        pinned = self._opened.find(url)
        for address in addresses:
            judgement = self.judge(address)
            if judgement.address_class is AddressClass.GLOBAL:
                continue
            if pinned is None or judgement.address_class not in LIFTABLE:
                _block(judgement.reason, judgement.address_class)
            if address not in pinned:
                _block("an opened host whose addresses have changed since the start", judgement.address_class, _CHANGED)
            if judgement.address_class is not AddressClass.PRIVATE and url.port in self._listener_ports:
                _block("a port on which Mycelos itself listens", judgement.address_class, _OWN_PORT)
        return tuple(addresses)

    def judge(self, address: IpAddress) -> Judgement:
        """Judge one address by the table and the machine's interfaces."""
        judgement = classify(address)
        if judgement.address_class not in {AddressClass.GLOBAL, AddressClass.PRIVATE}:
            return judgement
        if self._own.holds(address):
            return Judgement(AddressClass.OWN, "an address of this machine")
        if isinstance(address, ipaddress.IPv6Address) and any(map(self._own.holds, embedded_v4(address))):
            # By the network's translator it comes back to this machine; only the plain spelling can be opened.
            return Judgement(AddressClass.TRANSITION, "carries an address of this machine")
        return judgement


def _block(reason: str, address_class: str = "", next_step: str | None = None) -> NoReturn:
    raise Blocked(reason, address_class, next_step)
