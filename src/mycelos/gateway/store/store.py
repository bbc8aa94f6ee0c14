"""The store: one room for each kind of thing, all on one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mycelos.gateway.store.agents import Agents
from mycelos.gateway.store.chats import Chats
from mycelos.gateway.store.database import Database
from mycelos.gateway.store.models import Models
from mycelos.gateway.store.runs import Runs
from mycelos.gateway.store.sessions import Links, Sessions
from mycelos.gateway.store.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """What the gateway remembers. Opened once by the composition root."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.agents = Agents(database)
        self.chats = Chats(database)
        self.links = Links(database)
        self.models = Models(database)
        self.runs = Runs(database)
        self.sessions = Sessions(database)
        self.settings = Settings(database)

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Open the file at ``path``, bring its schema up to date and make sure that the first agent exists.

        Raises:
            Refusal: `internal`; the file cannot be used.
        """
        database = Database(path)
        await database.open()
        store = cls(database)
        await store.agents.seed()
        return store

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await self._database.close()
