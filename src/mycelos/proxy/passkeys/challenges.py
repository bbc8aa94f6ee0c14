"""Challenges that wait for a passkey: 256 random bits each, for one purpose, good once, for five minutes.

In memory, and gone with the proxy. A request that waits for a person has no entry here: its digest is the challenge.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused, demand

LIFETIME_SECONDS: Final = 300
_LIMIT: Final = 64


class Purpose(StrEnum):
    """What the answer to a challenge is good for."""

    ENROL = "enrol"
    SIGN_IN = "sign-in"


@dataclass(frozen=True)
class Challenge:
    """One that was given out. ``session``, ``label`` and ``passkey_id`` are an enrolment's, else empty."""

    purpose: Purpose
    ends: float
    session: str = ""
    label: str = ""
    passkey_id: str = ""


class Challenges:
    """What was asked and not yet answered."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # A room for each purpose: whoever asks for sign-ins without end takes no enrolment's place.
        self._waiting: dict[Purpose, dict[bytes, Challenge]] = {purpose: {} for purpose in Purpose}

    def make(self, purpose: Purpose, *, session: str = "", label: str = "", passkey_id: str = "") -> bytes:
        """A new challenge. The oldest of its purpose ends when there are more than 64."""
        now = self._monotonic()
        waiting = {value: kept for value, kept in self._waiting[purpose].items() if kept.ends > now}
        while len(waiting) >= _LIMIT:
            del waiting[next(iter(waiting))]
        value = secrets.token_bytes(32)
        waiting[value] = Challenge(purpose, now + LIFETIME_SECONDS, session, label, passkey_id)
        self._waiting[purpose] = waiting
        return value

    def take(self, value: bytes, purpose: Purpose, session: str = "") -> Challenge:
        """What was asked with ``value``; from now on it is no challenge any more, also where it is refused here.

        Raises:
            PasskeyRefused: never asked, answered already, too old, for another purpose, or of another session.
        """
        found = next((kept.pop(value) for kept in self._waiting.values() if value in kept), None)
        if found is None or found.ends <= self._monotonic():
            raise PasskeyRefused(Fault.CHALLENGE)
        demand(found.purpose is purpose, Fault.PURPOSE)
        demand(found.session == session, Fault.SESSION)
        return found
