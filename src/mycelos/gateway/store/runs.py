"""Runs and their journal: what happened in a run, written before its next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from mycelos.gateway.store.chats import add_message
from mycelos.gateway.store.database import new_identifier, now
from mycelos.gateway.store.records import OPEN_STATES, JournalRow, Run, RunState
from mycelos.gateway.store.tables import CHATS, RUN_EVENTS, RUNS
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from mycelos.gateway.store.database import Database


class Runs:
    """Rows of `runs` and `run_events`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, chat_id: str, text: str, agent: str, model: str | None) -> Run:
        """Store the person's message and a queued run for it, in one transaction.

        Raises:
            Refusal: `not_found` where the chat is gone.
        """

        def work(connection: Connection) -> Run:
            chat = connection.execute(
                select(CHATS.c.id).where(CHATS.c.id == chat_id, CHATS.c.tenant_id == DEFAULT_TENANT)
            ).first()
            if chat is None:
                raise Refusal(ProblemCode.NOT_FOUND, "There is no such chat", "Open a chat first.")
            run = Run(new_identifier(Kind.RUN), chat_id, agent, model, RunState.QUEUED, "", "", now(), None)
            connection.execute(
                insert(RUNS).values(
                    id=run.id,
                    tenant_id=DEFAULT_TENANT,
                    chat_id=chat_id,
                    agent=agent,
                    model=model,
                    state=run.state.value,
                    code="",
                    detail="",
                    created_at=run.created_at,
                    recorded=False,
                )
            )
            add_message(connection, chat_id, run.id, "user", text)
            return run

        return await self._database.run(work)

    async def mark_running(self, run_id: str) -> None:
        """The run has left the queue."""
        statement = update(RUNS).where(RUNS.c.id == run_id).values(state=RunState.RUNNING.value)
        await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def close(
        self, run: Run, state: RunState, *, code: str, detail: str, answer: str, rows: Sequence[JournalRow]
    ) -> None:
        """Write how the run ended, its last journal rows and what was answered (unless empty), in one transaction.

        The end counts as unrecorded until `mark_recorded`: the ledger may be out of reach at this moment.
        """

        def work(connection: Connection) -> None:
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == run.id)
                .values(state=state.value, code=code, detail=detail, finished_at=now())
            )
            _append(connection, run.id, rows)
            if answer:
                add_message(connection, run.chat_id, run.id, "assistant", answer)

        await self._database.run(work)

    async def mark_recorded(self, run_id: str) -> None:
        """The run's end is durable in the ledger."""
        statement = update(RUNS).where(RUNS.c.id == run_id).values(recorded=True)
        await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def append(self, run_id: str, rows: Sequence[JournalRow]) -> None:
        """Add rows to a run's journal; durable when it returns."""
        await self._database.run(lambda connection: _append(connection, run_id, rows))

    async def find(self, run_id: str) -> Run | None:
        """The run, or None."""
        query = select(RUNS).where(RUNS.c.id == run_id, RUNS.c.tenant_id == DEFAULT_TENANT)

        def work(connection: Connection) -> Run | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _run(row)

        return await self._database.run(work)

    async def all(self, chat_id: str | None = None, limit: int = 200) -> list[Run]:
        """The newest runs first, of one chat or of all."""
        query = (
            select(RUNS)
            .where(RUNS.c.tenant_id == DEFAULT_TENANT)
            .order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
            .limit(limit)
        )
        if chat_id is not None:
            query = query.where(RUNS.c.chat_id == chat_id)
        return await self._database.run(lambda connection: [_run(row) for row in connection.execute(query)])

    async def unrecorded(self) -> list[Run]:
        """Runs whose end is not in the ledger, oldest first: at start, also those that a crash cut short."""
        query = select(RUNS).where(RUNS.c.recorded.is_(False)).order_by(RUNS.c.created_at, RUNS.c.id)
        return await self._database.run(lambda connection: [_run(row) for row in connection.execute(query)])

    async def open_run_of(self, chat_id: str) -> Run | None:
        """The chat's run that has not ended, or None."""
        open_states = [state.value for state in OPEN_STATES]
        query = select(RUNS).where(RUNS.c.chat_id == chat_id, RUNS.c.state.in_(open_states)).limit(1)

        def work(connection: Connection) -> Run | None:
            row = connection.execute(query).first()
            return None if row is None else _run(row)

        return await self._database.run(work)

    async def journal(self, run_id: str) -> list[JournalRow]:
        """A run's journal in order."""
        query = select(RUN_EVENTS).where(RUN_EVENTS.c.run_id == run_id).order_by(RUN_EVENTS.c.sequence)
        return await self._database.run(
            lambda connection: [
                JournalRow(row.sequence, row.kind, row.data, row.at) for row in connection.execute(query)
            ]
        )


def _append(connection: Connection, run_id: str, rows: Sequence[JournalRow]) -> None:
    if not rows:
        return
    connection.execute(
        insert(RUN_EVENTS),
        [
            {
                "run_id": run_id,
                "sequence": row.sequence,
                "tenant_id": DEFAULT_TENANT,
                "kind": row.kind,
                "data": row.data,
                "at": row.at,
            }
            for row in rows
        ],
    )


def _run(row: Row[*tuple[Any, ...]]) -> Run:
    return Run(
        row.id,
        row.chat_id,
        row.agent,
        row.model,
        RunState(row.state),
        row.code,
        row.detail,
        row.created_at,
        row.finished_at,
    )
