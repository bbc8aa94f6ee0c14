"""The names under which this gateway is reached, and the origin that belongs to each.

A name that is not on the list is refused before anything else is looked at: a hostile page whose own name is
made to resolve to this machine (DNS rebinding) sends that name as its Host.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?\Z")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origins:
    """The allow-list. ``authorities`` maps ``host:port`` in lower case to the one origin it stands for."""

    authorities: dict[str, str]
    port: int
    takes_any_address: bool

    def origin_of(self, authority: str | None) -> str | None:
        """The origin of a Host header's value, or None where the name is not ours."""
        found = _AUTHORITY.match((authority or "").lower())
        if not found:
            return None
        host, port = found["host"], found["port"]
        for scheme, default in _DEFAULT_PORT.items():
            origin = self.authorities.get(f"{host}:{port or default}")
            if origin is not None and (port or origin.startswith(f"{scheme}:")):
                return origin
        if self.takes_any_address and int(port or 80) == self.port and _is_address(host):
            return _origin("http", host, self.port)
        return None


def make_origins(bind: str, port: int, public_url: str | None) -> Origins:
    """The names for a gateway bound to ``bind`` and ``port``, and seen by browsers as ``public_url`` if set.

    A bind to all addresses accepts each numeric address with the right port: rebinding needs a name.
    """
    is_wildcard = bind != "localhost" and ipaddress.ip_address(bind).is_unspecified
    hosts = ["localhost", "127.0.0.1", "[::1]"]
    if bind != "localhost" and not is_wildcard:
        hosts.append(f"[{bind}]" if ":" in bind else bind)
    authorities = {f"{host}:{port}": _origin("http", host, port) for host in hosts}
    if public_url:
        parts = urlsplit(public_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
        public_port = parts.port or _DEFAULT_PORT[parts.scheme]
        authorities[f"{host}:{public_port}"] = _origin(parts.scheme, host, public_port)
    return Origins(authorities, port, is_wildcard)


def _origin(scheme: str, host: str, port: int) -> str:
    """The serialised origin (RFC 6454, section 6.2): a default port is left out."""
    return f"{scheme}://{host}" if port == _DEFAULT_PORT[scheme] else f"{scheme}://{host}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
