"""Key slots: which one the master key opens, and the making of the first; and the vault's clock and identifiers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from mycelos.proxy.tables import CREDENTIALS, KEY_SLOTS, WRAPPED_KEYS
from mycelos.proxy.vault import envelope, hazmat
from mycelos.proxy.vault.envelope import KeySlot, Randomness, SlotKeys
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind, make_identifier

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)


def new_identifier(kind: Kind, clock: Clock, randomness: Randomness) -> str:
    """A new identifier of this kind."""
    return make_identifier(kind, int(clock().timestamp() * 1000), randomness(10))


def timestamp(at: datetime) -> str:
    """A time as it is stored: RFC 3339, UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def demand_fitting_key(connection: sa.Connection, master_key: bytes) -> None:
    """Refuse a key that opens no slot in use, and records without a slot. Nothing is written.

    Raises:
        VaultError: the text names the fix.
    """
    slots = _read_slots(connection)
    if slots and _first_that_opens(slots, master_key) is None:
        raise VaultError(
            detail="The master key does not fit this vault; nothing was changed.",
            next_step="Give the key that it has now, in .master_key or MYCELOS_MASTER_KEY: one from before a rotation "
            "opens old copies alone.",
        )
    if not slots and any(
        connection.scalar(sa.select(sa.exists(sa.select(table.c.id)))) for table in (CREDENTIALS, WRAPPED_KEYS)
    ):
        raise VaultError(
            detail="The vault has records and no key slot to open them.",
            next_step="Put back a copy of the data folder that is sound.",
        )


def is_empty(connection: sa.Connection) -> bool:
    """Whether there is no slot in use, so that `open_or_make` makes the first."""
    return not _read_slots(connection)


def open_or_make(connection: sa.Connection, master_key: bytes, clock: Clock, randomness: Randomness) -> SlotKeys:
    """The keys of the slot that ``master_key`` opens; in a vault without slots, of a new one.

    Raises:
        VaultError: there are slots and it opens none.
    """
    slots = _read_slots(connection)
    if slots:
        keys = _first_that_opens(slots, master_key)
        if keys is None:
            raise VaultError(detail="The master key does not fit this vault.", next_step="Give the key that made it.")
        return keys
    return insert_slot(connection, master_key, clock, randomness)


def insert_slot(
    connection: sa.Connection, master_key: bytes | bytearray, clock: Clock, randomness: Randomness
) -> SlotKeys:
    """Write a new slot with a new root under ``master_key``; its keys."""
    slot, keys = envelope.make_slot(
        master_key, DEFAULT_TENANT, new_identifier(Kind.KEY_SLOT, clock, randomness), timestamp(clock()), randomness
    )
    connection.execute(
        KEY_SLOTS.insert().values(
            kid=slot.kid,
            tenant_id=slot.tenant_id,
            kdf=slot.kdf,
            wrapped_root=slot.wrapped_root,
            wraps=0,
            created_at=slot.created_at,
            retired_at=None,
        )
    )
    return keys


def opens(connection: sa.Connection, master_key: bytes) -> bool:
    """Whether ``master_key`` opens a slot in use."""
    return _first_that_opens(_read_slots(connection), master_key) is not None


def demand_only_slot(connection: sa.Connection, kid: str, master_key: bytes) -> SlotKeys:
    """The keys of slot ``kid``, which must be the only one there is, retired ones included.

    Raises:
        SealBrokenError: there is another one, or ``master_key`` does not open it.
    """
    found = _read_slots(connection)
    if [slot.kid for slot in found] != [kid] or connection.scalar(
        sa.select(sa.func.count()).select_from(KEY_SLOTS)
    ) != 1:
        raise SealBrokenError
    return hazmat.open_slot(master_key, found[0])


def _read_slots(connection: sa.Connection) -> list[KeySlot]:
    rows = connection.execute(sa.select(KEY_SLOTS).where(KEY_SLOTS.c.retired_at.is_(None)).order_by(KEY_SLOTS.c.kid))
    return [KeySlot(row.kid, row.tenant_id, row.kdf, row.wrapped_root, row.created_at, row.retired_at) for row in rows]


def _first_that_opens(slots: list[KeySlot], master_key: bytes) -> SlotKeys | None:
    for slot in slots:
        try:
            return hazmat.open_slot(master_key, slot)
        except SealBrokenError:
            continue
    return None
