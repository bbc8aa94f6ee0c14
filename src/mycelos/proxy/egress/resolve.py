"""Names to addresses: the system's resolver in a thread, or the one that MYCELOS_DNS names. Judging is the guard's."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.proxy.egress.url import IpAddress

DEADLINE_SECONDS: Final = 5.0
_THREADS: Final = 8


class Resolver(Protocol):
    """Asks once for each call; caches nothing."""

    async def resolve(self, name: str, *, local: bool = False) -> tuple[IpAddress, ...]:
        """Every address of ``name``.

        ``local`` lets names without a dot and the hosts file of this machine count, for opened hosts alone.

        Raises:
            Refusal: `resolution_failed`.
        """
        ...


def fail(why: str) -> NoReturn:
    """Refuse a name that gave no address in time (`resolution_failed`)."""
    raise Refusal(
        ProblemCode.RESOLUTION_FAILED,
        f"The host's name {why}.",
        "Check the name, and the resolver with: mycelos doctor",
    ) from None


class SystemResolver:
    """`getaddrinfo` in a few threads. A thread that hangs in the C library is not waited for."""

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")

    async def resolve(self, name: str, *, local: bool = False) -> tuple[IpAddress, ...]:
        """Ask the system; the order of its answers is kept."""
        # The final dot keeps the system's search list, and with it other networks' names, out.
        question = name if local else f"{name}."
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline):
                answers = await loop.run_in_executor(self._threads, _ask_system, question)
        except TimeoutError:
            fail("was not resolved in time")
        except (OSError, UnicodeError):
            fail("does not resolve")
        return answers


def _ask_system(question: str) -> tuple[IpAddress, ...]:
    found = socket.getaddrinfo(question, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    # A scope after the percent sign belongs to link-local addresses, which the guard refuses by number.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class DnsResolver:
    """Asks one server over UDP, then TCP where an answer is truncated."""

    def __init__(self, server: tuple[str, int], deadline: float = DEADLINE_SECONDS) -> None:
        import dns.asyncresolver  # noqa: PLC0415 - memory: loaded only where MYCELOS_DNS is set

        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [server[0]]
        self._resolver.port = server[1]
        self._resolver.lifetime = deadline
        self._resolver.search = []
        self._resolver.cache = None

    async def resolve(self, name: str, *, local: bool = False) -> tuple[IpAddress, ...]:
        """Ask for A and AAAA at once."""
        del local  # this server is the only source
        answers = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
        addresses = tuple(dict.fromkeys(answers[0] + answers[1]))
        if not addresses:
            fail("has no address")
        return addresses

    async def _ask(self, name: str, record_type: str) -> tuple[IpAddress, ...]:
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            answer = await self._resolver.resolve(f"{name}.", record_type, search=False)
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return ()
        except (dns.exception.DNSException, OSError):
            # One family unknown is the whole name unknown: a resolver that hides answers decides nothing.
            fail("was not resolved by the server that MYCELOS_DNS names")
        return tuple(ipaddress.ip_address(record.address) for record in answer)
