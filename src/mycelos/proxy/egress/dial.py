"""The one place that opens a connection to the outside: to an address that the guard has passed, and to no other."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.configuration.environment import ConfigurationError
from mycelos.proxy.egress.connection import UpstreamConnection
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mycelos.proxy.egress.url import CanonicalUrl, IpAddress

CONNECT_SECONDS: Final = 10.0
_LEAST_SHARE: Final = 0.25


@dataclass(frozen=True)
class Trust:
    """Which roots upstream certificates are checked against. ``name`` keeps pooled connections apart."""

    name: str
    context: ssl.SSLContext


def make_trust(extra_roots: Path | None) -> Trust:
    """The system's roots, and those in the file of MYCELOS_CA_FILE. There is no way to turn checking off.

    Raises:
        ConfigurationError: the file cannot be read, or holds no certificates.
    """
    # Not ssl.create_default_context: it writes session keys to a file where SSLKEYLOGFILE says so.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    if extra_roots is not None:
        try:
            context.load_verify_locations(cafile=extra_roots)
        except ssl.SSLError:
            message = f"MYCELOS_CA_FILE: {extra_roots} holds no certificates in PEM"
            raise ConfigurationError(message) from None
        except OSError as error:
            message = f"MYCELOS_CA_FILE: {extra_roots} cannot be read ({os.strerror(error.errno or errno.EIO)})"
            raise ConfigurationError(message) from None
    return Trust("system" if extra_roots is None else f"system+{extra_roots}", context)


async def dial(
    url: CanonicalUrl, addresses: Sequence[IpAddress], trust: Trust, deadline: float = CONNECT_SECONDS
) -> UpstreamConnection:
    """A new connection for ``url`` to the first of ``addresses`` that answers.

    Each address has its share of ``deadline``, so that one that is silent does not take the others' time. SNI and the
    certificate's name are those of the URL, whatever the address.

    Raises:
        Refusal: `upstream_unreachable`, `upstream_tls`, `upstream_timeout`.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    last: OSError | None = None
    for tried, address in enumerate(addresses):
        left = ends_at - loop.time()
        if left <= 0:
            break
        share = max(left / (len(addresses) - tried), deadline * _LEAST_SHARE)
        try:
            async with asyncio.timeout(min(left, share)):
                return _demand_peer(await _connect(url, address, trust), address)
        except OSError as error:  # a timeout is one of them
            last = error
    if isinstance(last, TimeoutError):
        _fail(ProblemCode.UPSTREAM_TIMEOUT, "The host did not accept a connection in time.", "Try again later.")
    if isinstance(last, ssl.SSLError):
        _fail(
            ProblemCode.UPSTREAM_TLS,
            "The host's TLS certificate or protocol was not accepted.",
            "Check the host's certificate; a private root is added with MYCELOS_CA_FILE.",
        )
    raise Refusal(
        ProblemCode.UPSTREAM_UNREACHABLE, "The host did not accept a connection.", "Check that the service is up."
    ) from None


async def _connect(url: CanonicalUrl, address: IpAddress, trust: Trust) -> UpstreamConnection:
    secure = url.scheme == "https"
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: UpstreamConnection(address),
        str(address),
        url.port,
        ssl=trust.context if secure else None,
        server_hostname=url.host if secure else None,
    )
    return connection


def _demand_peer(connection: UpstreamConnection, address: IpAddress) -> UpstreamConnection:
    peer = connection.peer
    if peer is None or ipaddress.ip_address(peer.partition("%")[0]) != address:
        connection.close()
        _fail(
            ProblemCode.SSRF_BLOCKED,
            "The connection reached another address than the one that was checked.",
            "Look for a redirecting firewall on this machine.",
        )
    return connection


def _fail(code: ProblemCode, detail: str, next_step: str) -> NoReturn:
    raise Refusal(code, detail, next_step) from None
