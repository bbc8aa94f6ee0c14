"""Requests that wait for a person, and what was decided about them: in memory, bounded, forgotten at a restart.

What is forgotten is asked again, so nothing here needs a disk. What waits is never pushed out by what comes later:
where there is no room, the newcomer is refused.
"""

from __future__ import annotations

import hmac
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.proxy.egress.approval_check import Asked, Held, State
from mycelos.wire.identifiers import Kind, make_identifier
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME_SECONDS: Final = 900
"""A request is decided, and sent again, within this time."""
_NUMBER: Final = 64
_NUMBER_PER_RUN: Final = 8
# Each byte may take six in a list's JSON, which the operator's client reads up to 64 MiB.
_BYTES: Final = 8 * 1024 * 1024
_BYTES_PER_RUN: Final = 4 * 1024 * 1024
# What is over is known by name for a while, so that whoever comes with it is told what became of it.
_REMEMBERED: Final = 1024
_OPEN: Final = frozenset({State.WAITING, State.APPROVED})


class Approvals:
    """``on_end`` is told of each request that ends undecided or unused, and why: ``time``, or what `forget` was given.

    Args:
        monotonic: seconds; what time ends by.
        clock: now, UTC; what people see.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._clock = clock
        self._held: dict[str, Held] = {}
        self.on_end: Callable[[Held, str], None] = _tell_nobody

    def find(self, approval: str) -> Held | None:
        """What is known under an id that a caller gave."""
        self._end_old()
        return self._held.get(approval)

    def waiting(self) -> tuple[Held, ...]:
        """Those that a person has to decide, the oldest first."""
        self._end_old()
        return tuple(held for held in self._held.values() if held.state is State.WAITING)

    def same(self, asked: Asked) -> Held | None:
        """The one of this very request, by the same asker, that waits or is approved already."""
        self._end_old()
        return next((held for held in self._open() if held.asked == asked), None)

    def hold(self, asked: Asked) -> Held:
        """Keep a request for a person to decide.

        Raises:
            Refusal: `rate_limited`; as many wait as may, of this run or in all.
        """
        self._end_old()
        known = [held.asked for held in self._open() if held.asked is not None]
        own = [other for other in known if other.run == asked.run]
        if len(own) >= _NUMBER_PER_RUN or sum(other.size for other in own) + asked.size > _BYTES_PER_RUN:
            _refuse_full("of this run")
        if len(known) >= _NUMBER or sum(other.size for other in known) + asked.size > _BYTES:
            _refuse_full("in all")
        now = self._clock()
        expires_at = _timestamp(now + timedelta(seconds=LIFETIME_SECONDS))
        nonce = os.urandom(16).hex()
        held = Held(
            id=make_identifier(Kind.APPROVAL, int(now.timestamp() * 1000), os.urandom(10)),
            digest=asked.digest(nonce, expires_at),
            nonce=nonce,
            created_at=_timestamp(now),
            expires_at=expires_at,
            ends=self._monotonic() + LIFETIME_SECONDS,
            asker=asked.asker,
            asked=asked,
            state=State.WAITING,
        )
        self._held[held.id] = held
        return held

    def take_back(self, held: Held) -> None:
        """Forget a request that could not be put on record: nobody is asked about it."""
        self._held.pop(held.id, None)

    def decide(self, approval: str, digest: str, *, is_approved: bool) -> Held:
        """A person's word on a request that waits, once.

        Raises:
            Refusal: `not_found`; `conflict` where it was decided or ended, or where the digest is another's.
        """
        held = self.find(approval)
        if held is None:
            raise Refusal(
                ProblemCode.NOT_FOUND,
                "No request of this id waits for a person.",
                "See which do with: mycelos approval list",
            )
        if not hmac.compare_digest(held.digest, digest):
            raise Refusal(
                ProblemCode.CONFLICT, "The digest is not that of this request.", "Look at it: mycelos approval show"
            )
        if held.state is not State.WAITING:
            word = "ended undecided" if held.state is State.ENDED else "was decided already"
            raise Refusal(ProblemCode.CONFLICT, f"This request {word}.", "See: mycelos db audit --type confirm")
        return self._become(held, State.APPROVED if is_approved else State.REFUSED)

    def spend(self, approval: Held) -> None:
        """Use an approval up, before anything is sent under it.

        Raises:
            Refusal: `approval_required`; it is not one that is approved and unused.
        """
        held = self.find(approval.id)
        if held is None or held.state is not State.APPROVED or held.digest != approval.digest:
            raise Refusal(
                ProblemCode.APPROVAL_REQUIRED, "The approval is not one that can be used.", "Send the request again."
            )
        self._become(held, State.SENT)

    def forget(self, why: str, is_current: Callable[[Asked], bool]) -> None:
        """End each that waits or is approved, and of whose request ``is_current`` does not say that it may still go."""
        for held in self._open():
            if held.asked is None or not is_current(held.asked):
                self._end(held, why)

    def _open(self) -> list[Held]:
        return [held for held in self._held.values() if held.state in _OPEN]

    def _end_old(self) -> None:
        now = self._monotonic()
        for held in self._open():
            if held.ends <= now:
                self._end(held, "time")

    def _end(self, held: Held, why: str) -> None:
        self._become(held, State.ENDED)
        self.on_end(held, why)

    def _become(self, held: Held, state: State) -> Held:
        asked = held.asked if state in _OPEN else None
        changed = self._held[held.id] = replace(held, state=state, asked=asked)
        over = [known for known, one in self._held.items() if one.state not in _OPEN]
        for known in over[: max(0, len(over) - _REMEMBERED)]:
            del self._held[known]
        return changed


def _tell_nobody(_held: Held, _why: str) -> None:
    """Until somebody listens."""


def _refuse_full(whose: str) -> NoReturn:
    raise Refusal(
        ProblemCode.RATE_LIMITED,
        f"As many requests {whose} wait for a person as may.",
        "Decide some first: mycelos approval list",
    )


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
