"""Browser sessions and one-time links, by the SHA-256 of their secret: the secret itself is never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from mycelos.gateway.store.database import new_identifier, now
from mycelos.gateway.store.records import Session
from mycelos.gateway.store.tables import LINKS, SESSIONS
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from mycelos.gateway.store.database import Database


class Sessions:
    """Rows of `sessions`. ``expires_at`` is RFC 3339, UTC; an expired session is not found."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, digest: str, principal: str, method: str, expires_at: str) -> Session:
        """Add a session; ``method`` says how the person signed in."""
        session = Session(new_identifier(Kind.SESSION), digest, principal, method, now(), expires_at)
        statement = insert(SESSIONS).values(
            id=session.id,
            tenant_id=DEFAULT_TENANT,
            digest=digest,
            principal=principal,
            method=method,
            created_at=session.created_at,
            expires_at=expires_at,
        )
        await self._database.run(lambda connection: connection.execute(statement).rowcount)
        return session

    async def find(self, digest: str) -> Session | None:
        """The session with this digest that has not expired, or None."""
        query = select(SESSIONS).where(SESSIONS.c.digest == digest, SESSIONS.c.expires_at > now())

        def work(connection: Connection) -> Session | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _session(row)

        return await self._database.run(work)

    async def all(self) -> list[Session]:
        """Sessions that have not expired, the newest first."""
        query = (
            select(SESSIONS)
            .where(SESSIONS.c.expires_at > now())
            .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
        )
        return await self._database.run(lambda connection: [_session(row) for row in connection.execute(query)])

    async def delete(self, session_id: str) -> bool:
        """End one session; whether there was one."""
        statement = delete(SESSIONS).where(SESSIONS.c.id == session_id)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)

    async def delete_all(self) -> int:
        """End every session; how many there were."""
        return await self._database.run(lambda connection: connection.execute(delete(SESSIONS)).rowcount)

    async def delete_expired(self) -> int:
        """Forget the sessions and links whose time is over; how many sessions there were."""

        def work(connection: Connection) -> int:
            connection.execute(delete(LINKS).where(LINKS.c.expires_at <= now()))
            return connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= now())).rowcount

        return await self._database.run(work)


class Links:
    """Rows of `links`: each opens the door once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, digest: str, purpose: str, expires_at: str) -> None:
        """Add a link by the digest of its code."""
        statement = insert(LINKS).values(
            digest=digest, tenant_id=DEFAULT_TENANT, purpose=purpose, created_at=now(), expires_at=expires_at
        )
        await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def delete_all(self) -> None:
        """No link that was given out is good any more."""
        await self._database.run(lambda connection: connection.execute(delete(LINKS)).rowcount)

    async def redeem(self, digest: str, purpose: str) -> bool:
        """Use a link up; True once, for a link of this purpose that has not expired."""
        at = now()
        statement = (
            update(LINKS)
            .where(
                LINKS.c.digest == digest,
                LINKS.c.purpose == purpose,
                LINKS.c.used_at.is_(None),
                LINKS.c.expires_at > at,
            )
            .values(used_at=at)
        )
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)


def _session(row: Row[*tuple[Any, ...]]) -> Session:
    return Session(row.id, row.digest, row.principal, row.method, row.created_at, row.expires_at)
