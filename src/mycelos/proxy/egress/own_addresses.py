"""Every address of the machine's own interfaces, read from the kernel: they are this machine, whatever their class."""

from __future__ import annotations

import ipaddress
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.proxy.egress.url import IpAddress

_FRESH_SECONDS: Final = 2.0
_LOCAL_V4: Final = re.compile(r"\|-- (?P<address>[0-9.]+)\n\s+/32 host LOCAL\n")


class OwnAddresses:
    """Reads the kernel's tables again when the last reading is older than two seconds."""

    def __init__(self, process_net: Path = Path("/proc/net"), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._process_net = process_net
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._addresses: frozenset[IpAddress] = frozenset()

    def current(self) -> frozenset[IpAddress]:
        """The machine's addresses.

        Raises:
            Refusal: `internal`, where the kernel's tables cannot be read: nothing is known, so nothing is dialled.
        """
        now = self._monotonic()
        if now - self._read_at > _FRESH_SECONDS:
            self._addresses = frozenset(self._read())
            self._read_at = now
        return self._addresses

    def _read(self) -> list[IpAddress]:
        try:
            v4_text = (self._process_net / "fib_trie").read_text("ascii")
            v6_file = self._process_net / "if_inet6"
            # A kernel without IPv6 has no such file.
            v6_lines = v6_file.read_text("ascii").splitlines() if v6_file.exists() else []
            found: list[IpAddress] = [ipaddress.IPv4Address(match["address"]) for match in _LOCAL_V4.finditer(v4_text)]
            found += [ipaddress.IPv6Address(int(line.split()[0], 16)) for line in v6_lines]
        except (OSError, ValueError, IndexError):
            raise Refusal(
                ProblemCode.INTERNAL,
                "The machine's own addresses cannot be read.",
                "Check that /proc/net is readable in the proxy's process.",
            ) from None
        return found
