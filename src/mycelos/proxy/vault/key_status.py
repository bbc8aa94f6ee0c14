"""What is known of the keys without opening any: ids, ages, counts. Read alike from a running and a stopped vault."""

from __future__ import annotations

import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.tables import CREDENTIALS, KEY_SLOTS, WRAPPED_KEYS
from mycelos.proxy.vault.envelope import WRAP_LIMIT
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.next_key import is_unfinished
from mycelos.wire.keys import KeySource, KeyStatus, LongLivedKey


def read_key_status(connection: sa.Connection, layout: DataLayout, source: KeySource) -> KeyStatus:
    """What `mycelos key status` shows.

    Raises:
        VaultError: the vault has no slot in use.
    """
    slot = connection.execute(sa.select(KEY_SLOTS).where(KEY_SLOTS.c.retired_at.is_(None))).first()
    if slot is None:
        raise VaultError(
            detail="The vault has no key slot yet.", next_step="It is made at the first start: mycelos serve"
        )
    keys = connection.execute(sa.select(WRAPPED_KEYS).order_by(WRAPPED_KEYS.c.name, WRAPPED_KEYS.c.id))
    return KeyStatus(
        slot=slot.kid,
        created_at=slot.created_at,
        wraps=slot.wraps,
        wraps_limit=WRAP_LIMIT,
        source=source,
        records=connection.scalar(sa.select(sa.func.count()).select_from(CREDENTIALS)) or 0,
        keys=tuple(
            LongLivedKey(id=row.id, name=row.name, created_at=row.created_at, retired_at=row.retired_at) for row in keys
        ),
        is_unfinished=is_unfinished(layout),
    )
