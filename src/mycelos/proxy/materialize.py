"""Giving a credential out in plain: the one exception, and the one place that decides it.

It is off. The operator arms it for one service of a fixed list; from then on whoever holds the gateway's bearer may
have that version of that credential, once, within five minutes and while this process lives. The intent is durable
before plaintext leaves, and whatever is refused is on record too. Nothing of Mycelos needs it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Event
from mycelos.proxy.ledger.clock import Moment, read_clock, step_between
from mycelos.wire.operator import MaterializeArmed
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.lockdown import Lockdown
    from mycelos.proxy.vault.hazmat import Secret
    from mycelos.proxy.vault.records import Credential
    from mycelos.proxy.vault.store import Vault

ALLOWED: Final = frozenset({"telegram"})
"""The services that can be given out at all. A constant, so that no setting can widen it."""
WINDOW_SECONDS: Final = 300.0
"""How long an arming lasts, by a clock that nobody can set."""

_OTHERWISE: Final = "Use it through /http or /forward, where it is injected."


class Denial(StrEnum):
    """Why nothing was given out, as the record says it."""

    SERVICE = "service"
    NOT_ARMED = "not_armed"
    WINDOW = "window"
    CLOCK = "clock"


_DETAILS: Final = {
    Denial.SERVICE: f"Only {', '.join(sorted(ALLOWED))} can be given out.",
    Denial.NOT_ARMED: "No credential is given out: the operator has not armed it, or what was armed is spent.",
    Denial.WINDOW: "No credential is given out: the time for which it was armed is over.",
    Denial.CLOCK: "No credential is given out: the machine's clock was moved since it was armed.",
}


class DeniedError(Refusal):
    """Not given out, for this reason."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(ProblemCode.MATERIALIZE_DENIED, _DETAILS[denial], _OTHERWISE)
        self.denial = denial


@dataclass(frozen=True)
class _Arming:
    """What was armed, when, and which lockdown was the newest then."""

    credential: Credential
    at: Moment
    lockdown: str


class Materializing:
    """At most one arming, in memory alone: the end of this process ends it."""

    def __init__(
        self, *, vault: Vault, recorder: Recorder, lockdown: Lockdown, clock: Callable[[], Moment] = read_clock
    ) -> None:
        self._vault = vault
        self._recorder = recorder
        self._lockdown = lockdown
        self._clock = clock
        self._arming: _Arming | None = None

    async def arm(self, service: str) -> MaterializeArmed:
        """Let the present version of this credential be given out once. What was armed before is so no more.

        Raises:
            Refusal: `materialize_denied` for a service that is not on the list, `locked_down`, `credential_unknown`,
                `vault_unavailable`; then nothing is armed.
        """
        self._arming = None
        if service not in ALLOWED:
            raise DeniedError(Denial.SERVICE)
        self._lockdown.refuse()
        credential = self._vault.find(service)
        if credential is None:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"There is no credential {service}.",
                f"Store it first: mycelos credential add {service} --template {service}",
            )
        now = self._clock()
        self._arming = _Arming(credential, now, self._lockdown.state.last)
        ends = datetime.fromtimestamp(now.wall + WINDOW_SECONDS, UTC)
        return MaterializeArmed(
            service=service,
            credential_id=credential.id,
            credential_version=credential.version,
            seconds=int(WINDOW_SECONDS),
            expires_at=ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    @asynccontextmanager
    async def given_out(self, service: str) -> AsyncIterator[Secret]:
        """The plaintext, for the length of the block that sends it. Whoever gets here has spent the arming.

        Raises:
            Refusal: `materialize_denied`, `locked_down`, `credential_unknown` where it was changed since it was
                armed, `vault_unavailable`, `audit_unavailable`.
        """
        try:
            arming = self._spend(service)
        except Refusal as refusal:
            await self.deny(refusal, service)
            raise
        credential = arming.credential
        intent = await self._recorder.intent(
            Event.PROXY_CREDENTIAL_MATERIALIZED,
            subject=service,
            details={
                "door": "gateway",
                "service": service,
                "credential_id": credential.id,
                "credential_version": credential.version,
            },
        )
        try:
            # Again: the ledger's disk may have taken its time.
            self._demand_open(arming)
            with self._vault.open_secret(credential) as secret:
                yield secret
        except Refusal as refusal:
            await self._recorder.outcome(intent, outcome="refused", reason=_reason(refusal))
            raise
        except BaseException as error:
            await self._recorder.outcome(intent, outcome="failed", reason=type(error).__name__)
            raise
        self._vault.touch(credential)
        await self._recorder.outcome(intent, outcome="ok")

    async def deny(self, refusal: Refusal, service: str = "") -> None:
        """Put on record that nothing was given out.

        Raises:
            Refusal: `audit_unavailable`.
        """
        # Whoever holds the bearer chose the text: what is not the name of something here is not written down.
        named = service if service in ALLOWED or self._is_stored(service) else ""
        await self._recorder.fact(
            Event.PROXY_MATERIALIZE_DENIED,
            subject=named,
            outcome="refused",
            reason=_reason(refusal),
            details={"door": "gateway", "code": refusal.problem.code.value, "service": named},
        )

    def _spend(self, service: str) -> _Arming:
        """Take the arming, so that nobody else can."""
        if service not in ALLOWED:
            raise DeniedError(Denial.SERVICE)
        self._lockdown.refuse()
        arming = self._arming
        if arming is None or arming.credential.service != service:
            raise DeniedError(Denial.NOT_ARMED)
        self._arming = None
        self._demand_open(arming)
        return arming

    def _is_stored(self, service: str) -> bool:
        return any(credential.service == service for credential in self._vault.list())

    def _demand_open(self, arming: _Arming) -> None:
        self._lockdown.refuse()
        if self._lockdown.state.last != arming.lockdown:
            # A lockdown ends what was armed before it, also when it was lifted since.
            raise DeniedError(Denial.NOT_ARMED)
        now = self._clock()
        # A machine that slept counts as moved: the clock that nobody can set stands still meanwhile.
        if step_between(arming.at, now):
            raise DeniedError(Denial.CLOCK)
        if not 0 <= now.monotonic - arming.at.monotonic < WINDOW_SECONDS:
            raise DeniedError(Denial.WINDOW)


def _reason(refusal: Refusal) -> str:
    return refusal.denial.value if isinstance(refusal, DeniedError) else refusal.problem.code.value
