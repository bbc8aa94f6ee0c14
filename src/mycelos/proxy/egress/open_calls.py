"""Requests that are on their way: counted, and cut at once when what allowed them no longer does."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeVar

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mycelos.proxy.egress.call import EgressCall
    from mycelos.proxy.egress.url import CanonicalUrl

Key = TypeVar("Key")


class OpenCall:
    """One request on its way."""

    def __init__(self, call: EgressCall, url: CanonicalUrl) -> None:
        self.call = call
        self.url = url
        self._refusal: Refusal | None = None
        self._task: asyncio.Task[object] | None = None

    @property
    def was_cut(self) -> bool:
        """Whether `cut` ended it."""
        return self._refusal is not None

    def cut(self, refusal: Refusal) -> None:
        """End it with ``refusal``, whatever it waits for. The first one counts.

        Outside of a `cuttable` block nothing has left yet; then the block does not begin.
        """
        if self._refusal is None:
            self._refusal = refusal
            if self._task is not None:
                self._task.cancel()

    @contextmanager
    def cuttable(self) -> Iterator[None]:
        """A block of the current task that `cut` ends: its waiting is cancelled, and the block raises the refusal.

        Raises:
            Refusal: what `cut` was given, also where that was before the block began.
        """
        earlier = self._refusal
        if earlier is not None:
            raise earlier
        task = asyncio.current_task()
        if task is None:
            message = "a request is carried by a task"
            raise RuntimeError(message)
        others = task.cancelling()
        self._task = task
        try:
            yield
        except BaseException as error:
            if self._refusal is None:
                raise
            # Somebody else may be ending the task as well: that goes on.
            if task.uncancel() > others and isinstance(error, asyncio.CancelledError):
                raise
            raise self._refusal from None
        finally:
            self._task = None


class OpenCalls:
    """Every request that is on its way; at most so many at once for one run, and for one host and port."""

    def __init__(self, per_run: int, per_host: int) -> None:
        self._per_run = per_run
        self._per_host = per_host
        self._calls: dict[int, OpenCall] = {}
        self._runs: Counter[str] = Counter()
        self._hosts: Counter[tuple[str, int]] = Counter()

    @contextmanager
    def admit(self, call: EgressCall, url: CanonicalUrl) -> Iterator[OpenCall]:
        """Count one request for as long as the block lasts. Those that name no run count for their host only.

        Raises:
            Refusal: `rate_limited`; its run, or its host, has as many on their way as it may.
        """
        host = (url.host, url.port)
        if call.run and self._runs[call.run] >= self._per_run:
            _refuse("This run", self._per_run, "requests_per_run")
        if self._hosts[host] >= self._per_host:
            _refuse("This host", self._per_host, "requests_per_host")
        opened = OpenCall(call, url)
        self._calls[id(opened)] = opened
        self._runs[call.run] += 1
        self._hosts[host] += 1
        try:
            yield opened
        finally:
            del self._calls[id(opened)]
            _take_one(self._runs, call.run)
            _take_one(self._hosts, host)

    def all(self) -> tuple[OpenCall, ...]:
        """Those that are on their way now."""
        return tuple(self._calls.values())


def _take_one(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _refuse(who: str, limit: int, setting: str) -> NoReturn:
    raise Refusal(
        ProblemCode.RATE_LIMITED,
        f"{who} has {limit} requests on their way already.",
        f"Wait until one has ended, or raise egress.{setting} in operator.toml.",
    )
