"""The address that a request counts as coming from, with or without a reverse proxy in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope


def client_address(scope: Scope, trusted_proxies: Sequence[str]) -> str:
    """The peer's address; behind a trusted proxy, the last address of X-Forwarded-For that is not trusted.

    The header is believed only as far as trusted peers wrote it: what stands left of the first stranger is
    the stranger's own text.
    """
    peer = scope.get("client")
    address = str(peer[0]) if peer else "local"
    if not _is_trusted(address, trusted_proxies):
        return address
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed(",".join(values).split(",")):
        if not _is_address(hop.strip()):
            break
        address = hop.strip()
        if not _is_trusted(address, trusted_proxies):
            break
    return address


def _is_trusted(address: str, networks: Sequence[str]) -> bool:
    if not _is_address(address):
        return False
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
