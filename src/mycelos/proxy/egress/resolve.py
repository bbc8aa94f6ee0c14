"""Names to addresses: the system's resolver in a thread, or the one that MYCELOS_DNS names. Judging is the guard's."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.proxy.egress.url import IpAddress

DEADLINE_SECONDS: Final = 5.0
LONGEST_LIFE_SECONDS: Final = 30.0
"""How long an answer is kept at most, whatever its own lifetime."""
_KEPT_ANSWERS: Final = 1024
_THREADS: Final = 64
_THREADS_OF_PARENT: Final = 4


class Resolver(Protocol):
    """Finds the addresses of names."""

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
    """`getaddrinfo` in threads. It tells no lifetime of an answer, so none is kept: each request asks anew.

    A question cannot be taken back once the C library has it. So that names whose servers do not answer keep no
    thread from the others, questions for one name share a thread, and names below one parent have few.
    """

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")
        self._asked: dict[str, asyncio.Future[tuple[IpAddress, ...]]] = {}

    async def resolve(self, name: str, *, local: bool = False) -> tuple[IpAddress, ...]:
        """Ask the system; the order of its answers is kept."""
        # The final dot keeps the system's search list, and with it other networks' names, out.
        question = name if local else f"{name}."
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(self._answer(question))
        except TimeoutError:
            fail("was not resolved in time")
        except (OSError, UnicodeError):
            fail("does not resolve")

    def _answer(self, question: str) -> asyncio.Future[tuple[IpAddress, ...]]:
        known = self._asked.get(question)
        if known is not None:
            return known
        parent = _parent(question)
        if sum(_parent(asked) == parent for asked in self._asked) >= _THREADS_OF_PARENT:
            fail("was not asked for: others below the same parent wait for their answers still")
        future = asyncio.get_running_loop().run_in_executor(self._threads, _ask_system, question)
        self._asked[question] = future

        def forget(done: asyncio.Future[tuple[IpAddress, ...]]) -> None:
            del self._asked[question]
            # Looked at, so that an answer for which nobody waited any more is no complaint of the loop's.
            done.cancelled() or done.exception()

        future.add_done_callback(forget)
        return future


def _parent(name: str) -> str:
    return ".".join(name.rstrip(".").split(".")[-2:])


def _ask_system(question: str) -> tuple[IpAddress, ...]:
    found = socket.getaddrinfo(question, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    # A scope after the percent sign belongs to link-local addresses, which the guard refuses by number.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


@dataclass(frozen=True)
class _Answer:
    addresses: tuple[IpAddress, ...]
    seconds: float
    """How long it may be kept, by the shortest lifetime in its chain of names (RFC 1035, section 3.2.1)."""


class DnsResolver:
    """Asks one server over UDP, then TCP where an answer is truncated. An answer is kept for min(TTL, 30 s).

    What is kept is what the server said, never the guard's verdict on it: that is made anew for each request.
    """

    def __init__(
        self,
        server: tuple[str, int],
        deadline: float = DEADLINE_SECONDS,
        longest_life: float = LONGEST_LIFE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        import dns.asyncresolver  # noqa: PLC0415 - memory: loaded only where MYCELOS_DNS is set

        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [server[0]]
        self._resolver.port = server[1]
        self._resolver.lifetime = deadline
        self._resolver.search = []
        self._resolver.cache = None
        self._longest_life = longest_life
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, tuple[IpAddress, ...]]] = {}

    async def resolve(self, name: str, *, local: bool = False) -> tuple[IpAddress, ...]:
        """Ask for A and AAAA at once, unless a kept answer is still good."""
        del local  # this server is the only source
        until, known = self._kept.get(name, (0.0, ()))
        if known and self._monotonic() < until:
            return known
        asked_at = self._monotonic()
        answers = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
        addresses = tuple(dict.fromkeys(answers[0].addresses + answers[1].addresses))
        if not addresses:
            fail("has no address")
        self._keep(name, asked_at, min(answer.seconds for answer in answers), addresses)
        return addresses

    def _keep(self, name: str, asked_at: float, seconds: float, addresses: tuple[IpAddress, ...]) -> None:
        self._kept.pop(name, None)
        while len(self._kept) >= _KEPT_ANSWERS:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (asked_at + min(seconds, self._longest_life), addresses)

    async def _ask(self, name: str, record_type: str) -> _Answer:
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            answer = await self._resolver.resolve(f"{name}.", record_type, search=False)
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            # Nothing of this family says nothing about the lifetime of the other one.
            return _Answer((), LONGEST_LIFE_SECONDS)
        except (dns.exception.DNSException, OSError):
            # One family unknown is the whole name unknown: a resolver that hides answers decides nothing.
            fail("was not resolved by the server that MYCELOS_DNS names")
        addresses = tuple(ipaddress.ip_address(record.address) for record in answer)
        return _Answer(addresses, float(answer.chaining_result.minimum_ttl))
