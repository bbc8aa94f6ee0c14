"""Long-lived keys: random, wrapped in the vault, each with a name, an id and a rotation of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from mycelos.proxy.database import Database
from mycelos.proxy.tables import WRAPPED_KEYS
from mycelos.proxy.vault import envelope, hazmat
from mycelos.proxy.vault.current_keys import CurrentKeys
from mycelos.proxy.vault.envelope import Randomness, SlotKeys, WrappedKey
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError, Secret
from mycelos.proxy.vault.records import count_wraps
from mycelos.proxy.vault.slots import Clock, new_identifier, timestamp
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.keys import SIGNING_KEYS
from mycelos.wire.problems import ProblemCode, Refusal

_DESTROYED: Final = b""
"""In the place of a retired signing key: nothing of the past is signed again, and no thief may."""


@dataclass(frozen=True)
class HeldKeys:
    """The long-lived keys in use by name, and the slot's keys that open them."""

    slot: SlotKeys
    in_use: Mapping[str, WrappedKey] = field(default_factory=dict)


class LongLivedKeys:
    """The long-lived keys of one vault."""

    def __init__(self, database: Database, keys: CurrentKeys, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._randomness = randomness
        self._held = HeldKeys(keys.slot)

    def adopt(self, held: HeldKeys) -> None:
        """Take what was read as what is held."""
        self._held = held

    def open(self, name: str) -> Secret:
        """The 32 bytes of the key called ``name``, which is made at its first use.

        Raises:
            VaultError: it does not open.
        """
        if name not in self._held.in_use:
            self._database.run_now(lambda connection: self._insert(connection, self.make(name)), self._remember)
        return open_held(self._held, name)

    def in_use(self, name: str) -> WrappedKey:
        """The key called ``name`` as it is stored.

        Raises:
            KeyError: it was never used.
        """
        return self._held.in_use[name]

    def make(self, name: str) -> WrappedKey:
        """A new random key called ``name``, written down nowhere yet."""
        return envelope.make_wrapped_key(
            self._keys.slot,
            tenant_id=DEFAULT_TENANT,
            key_id=new_identifier(Kind.WRAPPED_KEY, self._clock, self._randomness),
            name=name,
            randomness=self._randomness,
        )

    async def replace(self, old: WrappedKey, new: WrappedKey) -> None:
        """Retire ``old`` and use ``new`` from now on, in one transaction.

        Raises:
            Refusal: `conflict` where either rotation came between, `vault_unavailable`.
        """

        def work(connection: sa.Connection) -> WrappedKey:
            gone = WRAPPED_KEYS.update().where(WRAPPED_KEYS.c.id == old.key_id, WRAPPED_KEYS.c.retired_at.is_(None))
            retired: dict[str, Any] = {"retired_at": timestamp(self._clock())}
            if old.name in SIGNING_KEYS:
                retired["wrapped_key"] = _DESTROYED
            if new.kid != self._keys.kid or connection.execute(gone.values(retired)).rowcount != 1:
                raise Refusal(
                    ProblemCode.CONFLICT,
                    f"The key {old.name}, or the master key, was changed by somebody else meanwhile.",
                    "Look at what is in use with: mycelos key status",
                )
            return self._insert(connection, new)

        await self._database.run(work, self._remember)

    def _insert(self, connection: sa.Connection, made: WrappedKey) -> WrappedKey:
        count_wraps(connection, made.kid)
        connection.execute(
            WRAPPED_KEYS.insert().values(
                id=made.key_id,
                tenant_id=made.tenant_id,
                name=made.name,
                kid=made.kid,
                wrapped_key=made.wrapped_key,
                created_at=timestamp(self._clock()),
                retired_at=None,
            )
        )
        return made

    def _remember(self, made: WrappedKey) -> None:
        self._held = HeldKeys(self._keys.slot, {**self._held.in_use, made.name: made})


def open_held(held: HeldKeys, name: str) -> Secret:
    """The 32 bytes of the key called ``name``, one of those in use.

    Raises:
        VaultError: it does not open.
    """
    try:
        return hazmat.open_wrapped_key(held.slot, held.in_use[name])
    except SealBrokenError:
        raise VaultError(
            detail=f"The key {name} in the vault was altered outside Mycelos.",
            next_step="Put back a copy of the data folder that is sound.",
        ) from None


def read_keys(connection: sa.Connection, slot: SlotKeys) -> HeldKeys:
    """The keys in use as they stand in the file."""
    rows = connection.execute(sa.select(WRAPPED_KEYS).where(WRAPPED_KEYS.c.retired_at.is_(None)))
    return HeldKeys(slot, {row.name: _of_row(row) for row in rows})


def rewrap_keys(connection: sa.Connection, old: SlotKeys, new: SlotKeys, randomness: Randomness) -> int:
    """Put every long-lived key, retired ones too, under ``new``; how many there are.

    Raises:
        SealBrokenError: one does not open.
    """
    rows = connection.execute(sa.select(WRAPPED_KEYS)).all()
    for row in rows:
        values: dict[str, Any] = {"kid": new.kid}
        if row.wrapped_key != _DESTROYED:
            values["wrapped_key"] = hazmat.rewrap_key(old, new, _of_row(row), randomness).wrapped_key
            count_wraps(connection, new.kid)
        connection.execute(WRAPPED_KEYS.update().where(WRAPPED_KEYS.c.id == row.id).values(values))
    return len(rows)


def demand_keys(connection: sa.Connection, slot: SlotKeys) -> None:
    """Open every long-lived key once, retired ones too.

    Raises:
        SealBrokenError: one does not open.
    """
    for row in connection.execute(sa.select(WRAPPED_KEYS)):
        if row.wrapped_key != _DESTROYED:
            hazmat.open_wrapped_key(slot, _of_row(row)).destroy()


def _of_row(row: Any) -> WrappedKey:
    return WrappedKey(row.tenant_id, row.id, row.name, row.kid, row.wrapped_key)
