"""MYCELOS_EGRESS_OPEN: resolve each entry at start, judge it, pin the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mycelos.configuration.environment import ConfigurationError, OpenedHost
from mycelos.proxy.egress.guard import Blocked, Guard, OpenedAddresses
from mycelos.proxy.egress.url import CanonicalUrl, UrlError, parse_url
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.proxy.egress.own_addresses import OwnAddresses
    from mycelos.proxy.egress.resolve import Resolver
    from mycelos.proxy.egress.url import IpAddress


@dataclass(frozen=True)
class Opening:
    """One entry after the start's check. With no address it stays closed, and ``reason`` says why."""

    host: str
    port: int
    addresses: tuple[IpAddress, ...]
    reason: str


async def open_hosts(
    entries: Sequence[OpenedHost],
    resolver: Resolver,
    own: OwnAddresses,
    listener_ports: frozenset[int],
    *,
    in_container: bool = False,
) -> tuple[Opening, ...]:
    """Check each entry; a name that cannot be resolved now stays closed until the next start.

    Raises:
        ConfigurationError: an entry that can never be opened: an address outside the private and loopback
            classes, a listener of Mycelos, or ``in_container`` a loopback address, which is the container itself.
    """
    openings = tuple([await _open(entry, resolver, own, listener_ports) for entry in entries])
    for opening in openings if in_container else ():
        if any(address.is_loopback for address in opening.addresses):
            message = (
                f"MYCELOS_EGRESS_OPEN: {opening.host}:{opening.port} is this container, not the machine that it runs "
                f"on; write host.docker.internal:{opening.port}"
            )
            raise ConfigurationError(message)
    return openings


def pinned(openings: Sequence[Opening]) -> OpenedAddresses:
    """What the guard needs of the openings."""
    return OpenedAddresses({(o.host, o.port): frozenset(o.addresses) for o in openings if o.addresses})


async def _open(entry: OpenedHost, resolver: Resolver, own: OwnAddresses, listener_ports: frozenset[int]) -> Opening:
    url = _as_url(entry)
    try:
        addresses = (url.address,) if url.address else await resolver.resolve(url.host, local=True)
    except Refusal:
        return Opening(url.host, url.port, (), "the name did not resolve at the start")
    try:
        # Judged as if opened: what is refused even then can never be opened.
        trial = OpenedAddresses({(url.host, url.port): frozenset(addresses)})
        Guard(own, trial, listener_ports, "").judge_addresses(url, addresses)
    except Blocked as blocked:
        message = f"MYCELOS_EGRESS_OPEN: {entry.host}:{entry.port} cannot be opened: {blocked.reason}"
        raise ConfigurationError(message) from None
    return Opening(url.host, url.port, addresses, "")


def _as_url(entry: OpenedHost) -> CanonicalUrl:
    host = f"[{entry.host}]" if ":" in entry.host else entry.host
    try:
        return parse_url(f"http://{host}:{entry.port}/")
    except UrlError:
        message = f"MYCELOS_EGRESS_OPEN: {entry.host}:{entry.port} is not an exact host:port"
        raise ConfigurationError(message) from None
