"""What may leave under `web on`: distinct hosts, bytes of their names, bytes of URLs, for each run and each day (UTC).

A URL carries data out, and so does a name as soon as a resolver is asked for it: what goes beyond a budget is refused
before any name is resolved. Requests that name no run share one run's budget. Which run it is, the gateway only
claims; the day's budget does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from mycelos.proxy.egress.quota import utc_day
from mycelos.proxy.egress.url import CanonicalUrl, is_address
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.configuration.operator_file import WebLimits


@dataclass
class _Spent:
    hosts: set[str] = field(default_factory=set)
    name_bytes: int = 0
    url_bytes: int = 0

    def demand(self, limits: WebLimits, whose: str, host: str, size: int) -> None:
        is_new = host not in self.hosts
        if len(self.hosts) + is_new > limits.hosts:
            _refuse(whose, f"{limits.hosts} distinct hosts", "hosts")
        if self.name_bytes + is_new * _name_bytes(host) > limits.name_bytes:
            _refuse(whose, f"{limits.name_bytes} bytes of host names", "name_bytes")
        if self.url_bytes + size > limits.url_bytes:
            _refuse(whose, f"{limits.url_bytes} bytes of URLs", "url_bytes")

    def add(self, host: str, size: int) -> None:
        if host not in self.hosts:
            self.hosts.add(host)
            self.name_bytes += _name_bytes(host)
        self.url_bytes += size


class WebBudget:
    """Counts what left today; a new day starts new counts."""

    def __init__(self, per_run: WebLimits, per_day: WebLimits, today: Callable[[], str] = utc_day) -> None:
        self._per_run = per_run
        self._per_day = per_day
        self._today = today
        self._date = ""
        self._day = _Spent()
        self._runs: dict[str, _Spent] = {}

    def take(self, run: str, url: CanonicalUrl, size: int) -> None:
        """Count one request to ``url`` that sends ``size`` bytes of the caller's choice.

        Raises:
            Refusal: `rate_limited`; it would go beyond a budget. Then nothing is counted.
        """
        self._begin_day()
        self._runs.get(run, _Spent()).demand(self._per_run, "this run", url.host, size)
        self._day.demand(self._per_day, "today (UTC)", url.host, size)
        self.count(run, url.host, size)

    def count(self, run: str, host: str, size: int) -> None:
        """Count one request, asking nothing: also what was on record before the start."""
        self._begin_day()
        self._runs.setdefault(run, _Spent()).add(host, size)
        self._day.add(host, size)

    def _begin_day(self) -> None:
        today = self._today()
        if today != self._date:
            self._date, self._day, self._runs = today, _Spent(), {}


def _name_bytes(host: str) -> int:
    """What a resolver would be told; an address is told to none."""
    return 0 if is_address(host) else len(host)


def _refuse(whose: str, what: str, name: str) -> NoReturn:
    setting = "web_per_run" if whose == "this run" else "web_per_day"
    raise Refusal(
        ProblemCode.RATE_LIMITED,
        f"The web budget of {whose} is used up: {what}.",
        f"Allow the host by name: mycelos egress allow; or raise egress.{setting}.{name} in operator.toml.",
    )
