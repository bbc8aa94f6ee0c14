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

    SNI and the certificate's name are those of the URL, whatever the address.

    Raises:
        Refusal: `upstream_unreachable`, `upstream_tls`, `upstream_timeout`.
    """
    secure = url.scheme == "https"
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    try:
        async with asyncio.timeout(deadline):
            for address in addresses:
                try:
                    _, connection = await loop.create_connection(
                        lambda address=address: UpstreamConnection(address),
                        str(address),
                        url.port,
                        ssl=trust.context if secure else None,
                        server_hostname=url.host if secure else None,
                    )
                except OSError as error:
                    last = error
                    continue
                return _demand_peer(connection, address)
    except TimeoutError:
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
