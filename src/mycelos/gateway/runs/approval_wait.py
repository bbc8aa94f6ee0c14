"""A request that the proxy does not send before a person has seen it: it is repeated until that is decided.

The proxy holds the request, shows it and decides; from here comes the same request again, with the id that the
refusal named, at a modest pace. It is sent once: the proxy takes an approval for one request only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from mycelos.gateway.runs.events import EventKind
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.gateway.runs.journal import Journal
    from mycelos.gateway.runs.time_limits import TimeLimits

POLL_SECONDS: Final = 1.0
Answer = TypeVar("Answer")


class Wait(Protocol):
    """Sends one request to the proxy, if need be with an approval."""

    async def __call__(self, send: Callable[[str | None], Awaitable[Answer]]) -> Answer:
        """What ``send`` gave in the end; it is given the approval's id, or None at first.

        Raises:
            Refusal: what the proxy refused for good.
        """
        ...


async def wait_for_nobody(send: Callable[[str | None], Awaitable[Answer]]) -> Answer:
    """Where no run could show that it waits: what needs a person is refused."""
    return await send(None)


class ApprovalWait:
    """The wait of one step of a run. ``step`` is what its pages are told: the call's id, tool and arguments."""

    def __init__(self, journal: Journal, limits: TimeLimits, step: dict[str, Any]) -> None:
        self._journal = journal
        self._limits = limits
        self._step = step

    async def __call__(self, send: Callable[[str | None], Awaitable[Answer]]) -> Answer:
        """See `Wait`. Each request that a person is asked about is shown once. Bounded by the proxy, which ends it."""
        approval: str | None = None
        while True:
            try:
                return await send(approval)
            except Refusal as refusal:
                pending = refusal.problem.approval
                if refusal.problem.code is not ProblemCode.APPROVAL_REQUIRED or pending is None:
                    raise
            if pending.id != approval:
                approval = pending.id
                waits = {"approval": pending.id, "expires_at": pending.expires_at}
                await self._journal.append(EventKind.APPROVAL, self._step | waits)
            await self._limits.rest(POLL_SECONDS)
