"""Lockdown: while it is set nothing leaves, whatever bindings and rules say.

Memory counts at once, the vault's database over a restart. Two records speak of it, the row here and the ledger; at
the start either one that says "set" is believed, so that neither alone can be cut away to open the egress.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.proxy.operator_settings import AlteredSettingError, OperatorSettings, Setting
from mycelos.proxy.vault.slots import Clock, system_clock, timestamp
from mycelos.wire.lockdown import LockdownState
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from mycelos.proxy.database import Database
    from mycelos.proxy.vault.current_keys import CurrentKeys

_NEVER: Final = LockdownState(locked=False, since=None, last="")
_NEXT: Final = "The operator lifts it with: mycelos lockdown --lift"


class Lockdown:
    """The one switch. ``on_set`` is called at once when it is set: it cuts what is open."""

    def __init__(
        self,
        database: Database,
        keys: CurrentKeys,
        clock: Clock = system_clock,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._settings = OperatorSettings(keys, clock)
        self._clock = clock
        self._randomness = randomness
        self._state = _NEVER
        self.on_set: Callable[[], None] = _cut_nothing

    @classmethod
    def open(cls, database: Database, keys: CurrentKeys, set_at: str | None = None) -> Lockdown:
        """The switch as the last process left it; set where its row was altered outside Mycelos.

        Args:
            database: the vault's.
            keys: those of the slot in use, now and after a rotation.
            set_at: when it was set, if that is the ledger's newest word of a lockdown.

        Raises:
            Refusal: `vault_unavailable`.
        """
        lockdown = cls(database, keys)
        found = database.run_now(lockdown._read)
        if found is None or (set_at is not None and not found.locked):
            found = lockdown._new_state(set_at)
        lockdown._state = found
        return lockdown

    @property
    def state(self) -> LockdownState:
        """Whether it is set, since when, and which lockdown was the newest."""
        return self._state

    def refuse(self) -> None:
        """Let nothing pass while it is set.

        Raises:
            Refusal: `locked_down`.
        """
        if not self._state.locked:
            return
        since = self._state.since
        what = "its record was altered outside Mycelos" if since is None else f"set at {since}"
        raise Refusal(ProblemCode.LOCKED_DOWN, f"All egress is locked down: {what}.", _NEXT)

    def stop(self) -> bool:
        """Set it in memory and cut what is open; whether it was set before, whose time is kept then.

        Each call names a new lockdown: sessions that began after the one before are over too.
        """
        before = self._state
        self._state = self._new_state(before.since or timestamp(self._clock()))
        self.on_set()
        return before.locked

    async def keep(self) -> None:
        """Write down what `stop` has set, so that it outlives this process.

        Raises:
            Refusal: `vault_unavailable`; it stays set until this process ends.
        """
        await self._write(self._state)

    async def lift(self) -> None:
        """Let requests be decided again. On disk first: what cannot be written down stays locked.

        Raises:
            Refusal: `vault_unavailable`, or `conflict` where it was set again meanwhile.
        """
        before = self._state
        lifted = msgspec.structs.replace(before, locked=False, since=None)
        await self._write(lifted)
        if self._state is not before:
            raise Refusal(ProblemCode.CONFLICT, "Egress was locked down again meanwhile, and stays so.", _NEXT)
        self._state = lifted

    def _new_state(self, since: str | None) -> LockdownState:
        return LockdownState(locked=True, since=since, last=self._randomness(8).hex())

    async def _write(self, state: LockdownState) -> None:
        value = msgspec.json.encode(state).decode("ascii")
        await self._database.run(lambda connection: self._settings.write(connection, Setting.LOCKDOWN, value))

    def _read(self, connection: sa.Connection) -> LockdownState | None:
        """What stands there; None where it cannot be believed."""
        try:
            value = self._settings.read(connection, Setting.LOCKDOWN)
            return _NEVER if value is None else msgspec.json.decode(value, type=LockdownState)
        except (AlteredSettingError, msgspec.DecodeError):
            return None


def _cut_nothing() -> None:
    """Nothing is open yet."""
