"""Settings that a person changes in the page; each a JSON value under a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from mycelos.gateway.store.tables import SETTINGS
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mycelos.gateway.store.database import Database


class Settings:
    """Rows of `settings`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> Any:
        """The value, or None where it was never set."""
        query = select(SETTINGS.c.value).where(SETTINGS.c.tenant_id == DEFAULT_TENANT, SETTINGS.c.key == key)
        return await self._database.run(lambda connection: connection.execute(query).scalar_one_or_none())

    async def set(self, key: str, value: Any) -> None:
        """Write the value."""

        def work(connection: Connection) -> None:
            connection.execute(delete(SETTINGS).where(SETTINGS.c.tenant_id == DEFAULT_TENANT, SETTINGS.c.key == key))
            connection.execute(insert(SETTINGS).values(tenant_id=DEFAULT_TENANT, key=key, value=value))

        await self._database.run(work)
