"""Runs for the page and the command line: start, watch, cancel; and what a crash left open is closed at start."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from mycelos.gateway.runs.active_run import ActiveRun
from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.history import conversation
from mycelos.gateway.runs.journal import Journal, next_sequence, stored_events
from mycelos.gateway.runs.queue import RunQueue
from mycelos.gateway.runs.run import STOPPED
from mycelos.gateway.store.database import now
from mycelos.gateway.store.records import JournalRow
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_check import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mycelos.gateway.runs.events import RunEvent
    from mycelos.gateway.runs.run import Ending, RunDriver
    from mycelos.gateway.settings import RunSettings
    from mycelos.gateway.store import Store
    from mycelos.gateway.store.records import Agent, Model, Run

SWEEP_SECONDS: Final = 5.0
STOP_SECONDS: Final = 10.0


class RunService:
    """The runs of this gateway. Used inside its `running` context."""

    def __init__(
        self,
        store: Store,
        driver: RunDriver,
        settings: RunSettings,
        refuse_stored_secret: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._refuse_stored_secret = refuse_stored_secret
        self._driver = driver
        self._settings = settings
        self._queue = RunQueue(settings.at_once, settings.waiting)
        self._journals: dict[str, Journal] = {}
        self._group: asyncio.TaskGroup | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close what a crash left open, then take runs; at the end, stop those that go on."""
        await self._recover()
        async with asyncio.TaskGroup() as group:
            self._group = group
            sweep = group.create_task(self._sweep())
            try:
                yield
            finally:
                self._group = None
                self._driver.is_stopping = True
                sweep.cancel()
                self._queue.cancel_all()

    async def start(self, chat_id: str, text: str, agent: str, model: str | None) -> str:
        """Store the message, open a run for it and give back the run's id.

        Args:
            chat_id: an open chat.
            text: what the person wrote.
            agent: an agent's name.
            model: a model endpoint's name; None for the agent's own, or the first that exists.

        Raises:
            Refusal: `invalid_request`, `forbidden` where it holds a stored secret, `not_found`, `conflict` while the
                chat's last run goes on, `model_unavailable` without a model, `rate_limited`, or `proxy_unavailable`
                during a stop.
        """
        if not text.strip() or len(text) > MESSAGE_LIMIT:
            raise Refusal(
                ProblemCode.INVALID_REQUEST,
                f"A message has 1 to {MESSAGE_LIMIT} characters, not only blanks, in text",
                "Write a message of that length.",
            )
        # Before anything of it is kept.
        await self._refuse_stored_secret(text)
        async with self._starting:
            group = self._group
            if group is None:
                raise Refusal(ProblemCode.CONFLICT, "The gateway is stopping", "Try again when it runs.")
            self._queue.check_room()
            found_agent, found_model = await self._agent_and_model(agent, model)
            if await self._store.runs.open_run_of(chat_id) is not None:
                raise Refusal(
                    ProblemCode.CONFLICT, "The chat's last run still goes on", "Wait for its end, or cancel it."
                )
            run = await self._store.runs.open(chat_id, text, found_agent.name, found_model.name)
            journal = Journal(run.id, self._store.runs)
            self._journals[run.id] = journal
            messages = conversation(await self._store.chats.messages(chat_id))
            active = ActiveRun(run, found_agent, found_model, messages, self._settings.limits, journal)
            self._queue.put(group, run.id, lambda slots: self._drive(active, slots))
            return run.id

    async def events(self, run_id: str, after: int) -> AsyncIterator[RunEvent]:
        """The run's events behind ``after``, live while it goes on; ends after `done` or `error`.

        Raises:
            Refusal: `not_found`.
        """
        journal = self._journals.get(run_id)
        if journal is not None:
            async for event in journal.events(after):
                yield event
            return
        if await self._store.runs.find(run_id) is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no such run", "Look at the chat's runs.")
        for event in stored_events(await self._store.runs.journal(run_id), after):
            yield event

    async def cancel(self, run_id: str) -> bool:
        """Cancel a run; False where it is not going on."""
        return run_id not in self._driver.finishing and self._queue.cancel(run_id)

    def end_all(self, ending: Ending) -> int:
        """Cancel every run, each to end as ``ending``; how many there were."""
        cancelled = 0
        for run_id in self._journals.keys() - self._driver.finishing:
            self._driver.ends_as[run_id] = ending
            cancelled += self._queue.cancel(run_id)
        return cancelled

    async def _drive(self, active: ActiveRun, slots: asyncio.Semaphore) -> None:
        try:
            await self._driver.drive(active, slots)
        finally:
            del self._journals[active.run.id]

    async def _agent_and_model(self, agent: str, model: str | None) -> tuple[Agent, Model]:
        found_agent = await self._store.agents.find(agent)
        if found_agent is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no such agent", "Look at: mycelos agent list")
        name = model or found_agent.model
        models = await self._store.models.all()
        chosen = [one for one in models if name is None or one.name == name]
        if not chosen:
            detail = "No model is set up" if name is None else "The model that was asked for is not set up"
            raise Refusal(ProblemCode.MODEL_UNAVAILABLE, detail, "Set one up: mycelos model add")
        return found_agent, chosen[0]

    async def _recover(self) -> None:
        for run in await self._store.runs.unrecorded():
            if run.is_open:
                await self._close_cut(run)

    async def _close_cut(self, run: Run) -> None:
        journal = await self._store.runs.journal(run.id)
        text = "".join(event.data["text"] for event in stored_events(journal, 0) if event.kind is EventKind.TOKEN)
        data = {"code": STOPPED.code, "detail": STOPPED.detail, "next": STOPPED.next_step}
        row = JournalRow(next_sequence(journal), EventKind.ERROR.value, data, now())
        await self._store.runs.close(
            run, STOPPED.state, code=STOPPED.code, detail=STOPPED.detail, answer=text, rows=[row]
        )

    async def _sweep(self) -> None:
        """Record ends that the ledger could not take at their time."""
        while True:
            for run in await self._store.runs.unrecorded():
                if run.is_open or run.id in self._journals:
                    continue
                if not await self._driver.record_end(run.id, run.agent, run.state, run.code, 0):
                    break
                await self._store.runs.mark_recorded(run.id)
            await asyncio.sleep(SWEEP_SECONDS)
