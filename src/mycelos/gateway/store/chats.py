"""Chats and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from mycelos.gateway.store.database import new_identifier, now
from mycelos.gateway.store.records import Chat, Role, StoredMessage
from mycelos.gateway.store.tables import CHATS, MESSAGES
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from mycelos.gateway.store.database import Database

TITLE_LENGTH: Final = 80
"""Characters of the first message that become the title of a chat without one."""


class Chats:
    """Rows of `chats` and `messages`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, limit: int = 200) -> list[Chat]:
        """The chats, the one used last first."""
        query = (
            select(CHATS)
            .where(CHATS.c.tenant_id == DEFAULT_TENANT)
            .order_by(CHATS.c.updated_at.desc(), CHATS.c.id.desc())
            .limit(limit)
        )
        return await self._database.run(lambda connection: [_chat(row) for row in connection.execute(query)])

    async def find(self, chat_id: str) -> Chat | None:
        """The chat, or None."""
        query = select(CHATS).where(CHATS.c.id == chat_id, CHATS.c.tenant_id == DEFAULT_TENANT)

        def work(connection: Connection) -> Chat | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _chat(row)

        return await self._database.run(work)

    async def create(self, agent: str, title: str = "") -> Chat:
        """Open a chat with an agent. An empty title is filled from the first message."""
        at = now()
        chat = Chat(new_identifier(Kind.CHAT), title, agent, at, at)
        statement = insert(CHATS).values(
            id=chat.id, tenant_id=DEFAULT_TENANT, title=title, agent=agent, created_at=at, updated_at=at
        )
        await self._database.run(lambda connection: connection.execute(statement).rowcount)
        return chat

    async def delete(self, chat_id: str) -> bool:
        """Remove a chat with its messages, runs and journals; whether there was one."""
        statement = delete(CHATS).where(CHATS.c.id == chat_id, CHATS.c.tenant_id == DEFAULT_TENANT)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)

    async def messages(self, chat_id: str) -> list[StoredMessage]:
        """The messages of a chat, oldest first."""
        query = (
            select(MESSAGES)
            .where(MESSAGES.c.chat_id == chat_id, MESSAGES.c.tenant_id == DEFAULT_TENANT)
            .order_by(MESSAGES.c.created_at, MESSAGES.c.id)
        )
        return await self._database.run(lambda connection: [_message(row) for row in connection.execute(query)])


def add_message(connection: Connection, chat_id: str, run_id: str | None, role: Role, text: str) -> StoredMessage:
    """Store one message in the caller's transaction and bring its chat to the top."""
    at = now()
    message = StoredMessage(new_identifier(Kind.MESSAGE), chat_id, run_id, role, text, at)
    connection.execute(
        insert(MESSAGES).values(
            id=message.id,
            tenant_id=DEFAULT_TENANT,
            chat_id=chat_id,
            run_id=run_id,
            role=role,
            text=text,
            created_at=at,
        )
    )
    connection.execute(update(CHATS).where(CHATS.c.id == chat_id).values(updated_at=at))
    if role == "user":
        title = " ".join(text.split())[:TITLE_LENGTH]
        connection.execute(update(CHATS).where(CHATS.c.id == chat_id, CHATS.c.title == "").values(title=title))
    return message


def _chat(row: Row[*tuple[Any, ...]]) -> Chat:
    return Chat(row.id, row.title, row.agent, row.created_at, row.updated_at)


def _message(row: Row[*tuple[Any, ...]]) -> StoredMessage:
    return StoredMessage(row.id, row.chat_id, row.run_id, row.role, row.text, row.created_at)
