"""Slowing down whoever guesses: after some failures a client waits, each time twice as long."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_FREE_ATTEMPTS: Final = 5
_FIRST_WAIT: Final = 30.0
_LONGEST_WAIT: Final = 3600.0
_FORGET_AFTER: Final = 24 * 3600.0
_MAXIMUM_CLIENTS: Final = 4096
_NETWORK_OF_ONE: Final = 64
"""Bits of an IPv6 address that one client cannot choose."""


@dataclass(frozen=True)
class Failures:
    """What is known of one client. Times are the clock's seconds; ``locked_until`` 0 means not locked."""

    attempts: int
    locked_until: float
    newest: float


class Lockout:
    """Counts failures a client, in memory of a bounded size.

    Only password guesses are counted and stopped: a session, a one-time link and the command line's token go on
    working, so that another program of this machine cannot lock the owner out.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, Failures] = OrderedDict()

    def seconds_left(self, client: str) -> float:
        """How long ``client`` has to wait before its next attempt is looked at; 0 if not at all."""
        known = self._clients.get(_key(client))
        return max(0.0, known.locked_until - self._clock()) if known else 0.0

    def record_failure(self, client: str) -> Failures:
        """Count one failure; from the fifth on each locks for 30 s, 60 s, 120 s … up to an hour."""
        now, key = self._clock(), _key(client)
        known = self._clients.pop(key, None)
        if known is None or now - known.newest > _FORGET_AFTER:
            known = Failures(0, 0.0, now)
        attempts = known.attempts + 1
        over = attempts - _FREE_ATTEMPTS
        wait = min(_FIRST_WAIT * 2.0 ** min(over, 16), _LONGEST_WAIT) if over >= 0 else 0.0
        failures = Failures(attempts, now + wait if wait else 0.0, now)
        self._clients[key] = failures
        if len(self._clients) > _MAXIMUM_CLIENTS:
            self._clients.popitem(last=False)
        return failures

    def record_success(self, client: str) -> None:
        """Forget the failures of ``client``."""
        self._clients.pop(_key(client), None)


def _key(client: str) -> str:
    """One key for this machine, one an IPv4 address, one a /64 of IPv6: who has one of these addresses has all.

    Words before the address, such as ``bearer``, count apart and stay.
    """
    kind, space, text = client.rpartition(" ")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        # 127.0.0.0/8 and ::1: any program here sends from whichever of the sixteen million it likes.
        return f"{kind}{space}loopback"
    if isinstance(address, ipaddress.IPv6Address):
        return f"{kind}{space}{ipaddress.ip_network((address, _NETWORK_OF_ONE), strict=False)}"
    return f"{kind}{space}{address}"
