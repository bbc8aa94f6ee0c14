"""V5: the one exception by which a credential leaves in plain, asked for in every way in which it must not be given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Event
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Answer, Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy import materialize
from mycelos.proxy.ledger.clock import Moment, read_clock
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.materialize import Materializing
from mycelos.proxy.vault.keys import read_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mycelos.prove.installation import Installation

_ROUTE: Final = "/credential/materialize"
_ALLOWED: Final = "telegram"
_UNKNOWN: Final = "another-service"
_DENIED: Final = 403
_HOUR: Final = 3600.0


@dataclass
class _Movable:
    """A clock that was moved from the real one by so many seconds."""

    wall: float = 0.0
    monotonic: float = 0.0

    def __call__(self) -> Moment:
        now = read_clock()
        return replace(now, wall=now.wall + self.wall, monotonic=now.monotonic + self.monotonic)


_LATER: Final = materialize.WINDOW_SECONDS + 1
_MOVES: Final = {
    "after its window": (_LATER, _LATER),
    "after its window, with the clock set back to its beginning": (0.0, _LATER),
    "with the clock set back an hour": (-_HOUR, 0.0),
    "with the clock set forward an hour": (_HOUR, 0.0),
}
"""Seconds by which the time of day and the other clock have gone on."""


def probe_materialize(_installation: Installation) -> list[Finding]:
    """V5: ask a twin for its credentials in plain, unarmed, armed, again, and with its clock moved."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        bindings = (twin.binding(upstream.port),)
        others = [*sorted({one.name for one in twin.operator.templates()} - {_ALLOWED}), _UNKNOWN]
        for service in (_ALLOWED, *others):
            secret = twin.canary + "-t"
            twin.operator.store(StoreCredential(service=service, secret=secret, bindings=bindings))
        findings = list(_asked(twin, others))
        twin.stop()
        # The real code with a clock of this probe's: nobody can move the one of a running proxy.
        return [*findings, *asyncio.run(_asked_at_other_times(twin))]


def _asked(twin: Twin, others: list[str]) -> Iterator[Finding]:
    yield _not_given(twin, "before it is armed", _ALLOWED)
    gateway = twin.gateway("POST", "/materialize/arm", {"service": _ALLOWED})
    yield Finding("arm it with the gateway's bearer", _said(gateway), held=gateway.status == 404)
    yield _not_given(twin, "after that", _ALLOWED)
    yield Finding("arm another service as the operator", *_refused(lambda: twin.operator.arm(SERVICE)))
    yield _armed(twin, others)
    yield _given(twin, others, "after that")
    twin.operator.arm(_ALLOWED)
    given = twin.gateway("POST", _ROUTE, {"service": _ALLOWED})
    if given.body != {"service": _ALLOWED, "secret": twin.canary + "-t"}:
        message = "the twin does not give out what its operator armed, so nothing can be said of when it must not"
        raise CannotShowError(message)
    yield _not_given(twin, "a second time", _ALLOWED)
    twin.operator.arm(_ALLOWED)
    for service in (SERVICE, "Telegram", "telegram ", "telegrarn", ""):
        yield _not_given(twin, f"as {service!r} while {_ALLOWED} is armed", service)
    yield _given(twin, others, f"while {_ALLOWED} is armed")
    stranger = twin.gateway("POST", _ROUTE, {"service": _ALLOWED}, bearer="x" * 64)
    yield Finding("ask with another bearer", _said(stranger), held=stranger.status == 401)
    twin.operator.set_lockdown(enabled=True)
    answer = twin.gateway("POST", _ROUTE, {"service": _ALLOWED})
    yield Finding("ask while locked down", _said(answer), held=answer.code == "locked_down")
    twin.operator.set_lockdown(enabled=False)
    yield _not_given(twin, "after a lockdown that came later than the arming", _ALLOWED)
    twin.operator.arm(_ALLOWED)
    twin.restart()
    yield _not_given(twin, "after a restart", _ALLOWED)
    yield from _on_record(twin, 11 + 2 * len(others))
    twin.operator.arm(_ALLOWED)
    twin.layout.ledger.rename(twin.layout.ledger.with_suffix(".taken"))
    answer = twin.gateway("POST", _ROUTE, {"service": _ALLOWED})
    held = answer.status >= 400 and twin.canary not in str(answer.body)
    yield Finding("ask while nothing can be recorded", _said(answer), held)


def _armed(twin: Twin, others: list[str]) -> Finding:
    """Every other service that is known by name, and one that is not: each has a credential here."""
    armed = [service for service in others if not _refused(partial(twin.operator.arm, service))[1]]
    happened = f"armed: {', '.join(armed)}" if armed else "each is refused"
    return Finding(f"arm each of {len(others)} other services as the operator", happened, held=not armed)


def _given(twin: Twin, others: list[str], when: str) -> Finding:
    given = [service for service in others if not _not_given(twin, when, service).held]
    happened = f"not refused: {', '.join(given)}" if given else "each is refused"
    return Finding(f"ask for each of {len(others)} other services {when}", happened, held=not given)


def _on_record(twin: Twin, expected: int) -> Iterator[Finding]:
    entries = twin.entries()
    given = [entry.phase for entry in entries if entry.event == Event.PROXY_CREDENTIAL_MATERIALIZED]
    yield Finding("have it given out without a record", f"on record: {', '.join(given) or 'nothing'}",
                  held=given == ["intent", "outcome"])  # fmt: skip
    denied = sum(entry.event == Event.PROXY_MATERIALIZE_DENIED for entry in entries)
    yield Finding("be refused without a record", f"{denied} refusals on record", held=denied == expected)
    text = "\n".join(str(tuple(entry)) for entry in entries).encode()
    held = not any(form in text for form in secret_forms(twin.canary.encode()))
    yield Finding("find the credential in the ledger", "not there" if held else "it is there", held)


async def _asked_at_other_times(twin: Twin) -> list[Finding]:
    vault = await asyncio.to_thread(Vault.open, twin.layout, read_master_key(twin.layout.master_key))
    recorder = await Recorder.open(twin.layout.proxy / "moved-clock.sqlite")
    try:
        lockdown = await asyncio.to_thread(Lockdown.open, vault.database, vault.keys)
        return [
            Finding(f"ask {when}", *await _asked_at(moved, vault=vault, recorder=recorder, lockdown=lockdown))
            for when, moved in _MOVES.items()
        ]
    finally:
        await recorder.close()
        await asyncio.to_thread(vault.close)


async def _asked_at(
    moved: tuple[float, float], *, vault: Vault, recorder: Recorder, lockdown: Lockdown
) -> tuple[str, bool]:
    clock = _Movable()
    materializing = Materializing(vault=vault, recorder=recorder, lockdown=lockdown, clock=clock)
    await materializing.arm(_ALLOWED)
    clock.wall, clock.monotonic = moved
    try:
        async with materializing.given_out(_ALLOWED):
            return "given out", False
    except Refusal as refusal:
        return f"refused: {refusal.problem.detail}", True


def _not_given(twin: Twin, when: str, service: str) -> Finding:
    answer = twin.gateway("POST", _ROUTE, {"service": service})
    held = answer.status == _DENIED and answer.code == "materialize_denied" and twin.canary not in str(answer.body)
    return Finding(f"ask {when}", _said(answer), held)


def _refused(attempt: Callable[[], object]) -> tuple[str, bool]:
    try:
        attempt()
    except Refusal as refusal:
        return f"refused ({refusal.problem.code.value})", refusal.problem.code.value == "materialize_denied"
    return "armed", False


def _said(answer: Answer) -> str:
    return f"status {answer.status} {answer.code}".strip()
