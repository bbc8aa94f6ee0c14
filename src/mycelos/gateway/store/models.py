"""Model endpoints by name. The secret that one needs is with the proxy; here is only its service's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from mycelos.gateway.store.database import new_identifier, now
from mycelos.gateway.store.records import Model, ModelFormat
from mycelos.gateway.store.tables import MODELS
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from mycelos.gateway.store.database import Database


class Models:
    """Rows of `models`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Model]:
        """All endpoints, oldest first: the first one serves agents that name none."""
        query = select(MODELS).where(MODELS.c.tenant_id == DEFAULT_TENANT).order_by(MODELS.c.created_at, MODELS.c.id)
        return await self._database.run(lambda connection: [_model(row) for row in connection.execute(query)])

    async def find(self, name: str) -> Model | None:
        """The endpoint of this name, or None."""
        query = select(MODELS).where(MODELS.c.name == name, MODELS.c.tenant_id == DEFAULT_TENANT)

        def work(connection: Connection) -> Model | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _model(row)

        return await self._database.run(work)

    async def create(
        self, name: str, model_format: ModelFormat, base_url: str, model: str, credential: str | None
    ) -> Model:
        """Add an endpoint. ``base_url`` is the provider's own address, such as ``https://api.openai.com/v1``.

        Raises:
            Refusal: `conflict` where the name is taken.
        """
        record = Model(new_identifier(Kind.MODEL), name, model_format, base_url, model, credential, now())
        statement = insert(MODELS).values(
            id=record.id,
            tenant_id=DEFAULT_TENANT,
            name=name,
            format=model_format,
            base_url=base_url,
            model=model,
            credential=credential,
            created_at=record.created_at,
        )
        await self._database.run(lambda connection: connection.execute(statement).rowcount)
        return record

    async def delete(self, name: str) -> bool:
        """Remove the endpoint; whether there was one."""
        statement = delete(MODELS).where(MODELS.c.name == name, MODELS.c.tenant_id == DEFAULT_TENANT)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)


def _model(row: Row[*tuple[Any, ...]]) -> Model:
    return Model(row.id, row.name, row.format, row.base_url, row.model, row.credential, row.created_at)
