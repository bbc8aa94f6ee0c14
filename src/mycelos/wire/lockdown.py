"""Lockdown as it crosses borders: the operator's step and its answer, and what the gateway is told of it."""

from __future__ import annotations

from typing import Final

import msgspec

LOCKDOWN_HEADER: Final = "Mycelos-Lockdown"
"""On each answer that the proxy gives the gateway, once there has been a lockdown."""


class SetLockdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of `POST /lockdown`: stop all egress, or let requests be decided again."""

    enabled: bool


class LockdownState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether all egress is stopped. ``since`` is RFC 3339, null where it is not known.

    ``last`` names the newest lockdown, lifted or not, empty before the first: a session that began under another
    name is over.
    """

    locked: bool
    since: str | None
    last: str


class LockdownAnswer(LockdownState, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer of `POST /lockdown`. ``shortcomings`` are sentences: what could not be done although egress stopped."""

    shortcomings: tuple[str, ...]


def lockdown_header(state: LockdownState) -> str:
    """The header's value: ``set NAME SINCE`` or ``lifted NAME``."""
    return f"set {state.last} {state.since or 'unknown'}" if state.locked else f"lifted {state.last}"


def read_lockdown_header(value: str) -> LockdownState:
    """What the header says; what cannot be read means that it is set."""
    match value.split(" "):
        case ["lifted", last] if last:
            return LockdownState(locked=False, since=None, last=last)
        case ["set", last, since] if last and since != "unknown":
            return LockdownState(locked=True, since=since, last=last)
        case ["set", last, "unknown"] if last:
            return LockdownState(locked=True, since=None, last=last)
        case _:
            return LockdownState(locked=True, since=None, last="unreadable")
