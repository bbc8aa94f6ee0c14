"""The operator's standing decisions in the vault's database: a name and a value, each row under a MAC.

A row that was altered outside Mycelos is neither used nor passed over: reading it raises, and whoever reads says
what is closed then.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mycelos.proxy.changes import change_one, remove_all
from mycelos.proxy.tables import OPERATOR_SETTINGS
from mycelos.proxy.vault.signed_rows import SignedRows
from mycelos.proxy.vault.slots import Clock, system_clock, timestamp
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from mycelos.proxy.vault.current_keys import CurrentKeys


class Setting(StrEnum):
    """What the operator decides once and for good."""

    LOCKDOWN = "lockdown"
    WEB = "web"
    # Not the operator's, and decided once all the same: by which name this installation is remembered outside.
    INSTALLATION = "installation"


class AlteredSettingError(Exception):
    """The row's MAC does not hold."""


class OperatorSettings:
    """Reads and writes rows inside the caller's transaction."""

    def __init__(self, keys: CurrentKeys, clock: Clock = system_clock) -> None:
        self._keys = keys
        self._clock = clock

    def read(self, connection: sa.Connection, setting: Setting) -> str | None:
        """The value, or None where it was never written.

        Raises:
            AlteredSettingError: the row was changed outside Mycelos, or is sealed under another key.
        """
        table = OPERATOR_SETTINGS
        row = connection.execute(
            sa.select(table).where(table.c.tenant_id == DEFAULT_TENANT, table.c.name == setting.value)
        ).one_or_none()
        if row is None:
            return None
        columns = _columns(setting, row.value, row.changed_at, row.kid)
        if row.kid != self._keys.kid or not self._keys.row_holds(table.name, columns, row.row_mac):
            raise AlteredSettingError
        return str(row.value)

    def write(self, connection: sa.Connection, setting: Setting, value: str) -> None:
        """Put ``value`` in the place of whatever stands there."""
        table = OPERATOR_SETTINGS
        columns = _columns(setting, value, timestamp(self._clock()), self._keys.kid)
        remove_all(connection, table, table.c.tenant_id == DEFAULT_TENANT, table.c.name == setting.value)
        change_one(connection, table.insert().values(**columns, row_mac=self._keys.row_mac(table.name, columns)))


def _of_row(row: Any) -> dict[str, str | int | None]:
    return {
        "tenant_id": row.tenant_id,
        "name": row.name,
        "value": row.value,
        "changed_at": row.changed_at,
        "kid": row.kid,
    }


SIGNED_SETTINGS: Final = SignedRows(OPERATOR_SETTINGS, _of_row)
"""What a rotation carries over."""


def _columns(setting: Setting, value: str, changed_at: str, kid: str) -> dict[str, str | int | None]:
    return {
        "tenant_id": DEFAULT_TENANT,
        "name": setting.value,
        "value": value,
        "changed_at": changed_at,
        "kid": kid,
    }
