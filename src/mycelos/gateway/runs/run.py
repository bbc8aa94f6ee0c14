"""One run from its start in the queue to its recorded end."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.failure import RunFailure, internal_failure
from mycelos.gateway.runs.frame_channel import FrameChannel
from mycelos.gateway.store.records import RunState
from mycelos.ledger.events import Event
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.runner import RUNNER_PROTOCOL, Hello
from mycelos.wire.spawn import Profile

if TYPE_CHECKING:
    from mycelos.gateway.broker import Broker
    from mycelos.gateway.recorder import Recorder
    from mycelos.gateway.runs.active_run import ActiveRun
    from mycelos.gateway.spawner_client import Runner, SpawnerClient
    from mycelos.gateway.store.runs import Runs
    from mycelos.wire.runner import Done

RECORD_SECONDS: Final = 3.0
"""The page is told of an end after this long at most, also while the ledger is out of reach."""

_ENDED_SECONDS: Final = 2.0
_logger: Final = logging.getLogger(__name__)
_EVENTS: Final = {
    RunState.FINISHED: Event.RUN_FINISHED,
    RunState.FAILED: Event.RUN_FAILED,
    RunState.CANCELLED: Event.RUN_CANCELLED,
}


@dataclass(frozen=True)
class Ending:
    """How a run ended. ``text`` is the final answer where the run wrote nothing before."""

    state: RunState
    code: str
    detail: str = ""
    next_step: str = ""
    text: str = ""


CANCELLED: Final = Ending(RunState.CANCELLED, "cancelled", "The run was cancelled", "Send the message again.")
STOPPED: Final = Ending(
    RunState.FAILED,
    "gateway_stopped",
    "The gateway was stopped in the middle of this run",
    "Send the message again: nothing is repeated by itself.",
)
LOCKED_DOWN: Final = Ending(
    RunState.FAILED,
    ProblemCode.LOCKED_DOWN.value,
    "Mycelos was locked down in the middle of this run",
    "The operator lifts it with: mycelos lockdown --lift",
)


class RunDriver:
    """Takes runs from the queue to their end."""

    def __init__(self, runs: Runs, broker: Broker, spawner: SpawnerClient, recorder: Recorder, seconds: float) -> None:
        self._runs = runs
        self._broker = broker
        self._spawner = spawner
        self._recorder = recorder
        self._seconds = seconds
        self.is_stopping = False
        self.ends_as: dict[str, Ending] = {}
        """How a run that is being cancelled ends, by its id, where that is not `CANCELLED`."""
        self.finishing: set[str] = set()
        """Runs whose end is being written down: they are cancelled no more."""

    async def drive(self, active: ActiveRun, slots: asyncio.Semaphore) -> None:
        """Run it. Never raises for what a run can meet: each end is written down, recorded and shown."""
        started = time.monotonic()
        ending = await self._outcome(active, slots)
        self.finishing.add(active.run.id)
        self.ends_as.pop(active.run.id, None)
        try:
            await self._finish(active, ending, int((time.monotonic() - started) * 1000))
        finally:
            self.finishing.discard(active.run.id)

    async def _outcome(self, active: ActiveRun, slots: asyncio.Semaphore) -> Ending:
        try:
            async with slots, active.time.limit(self._seconds):
                done = await self._attempt(active)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return self.ends_as.pop(active.run.id, STOPPED if self.is_stopping else CANCELLED)
        except TimeoutError:
            failure = RunFailure("limit_seconds", "The run took longer than it may", "Ask for less at once.")
            return _failed(failure)
        except RunFailure as failure:
            return _failed(failure)
        except Refusal as refusal:
            return _failed(RunFailure.from_refusal(refusal))
        except Exception as error:  # noqa: BLE001 - ends the run
            # The kind alone: a library's text or a traceback may hold content of the run.
            _logger.error("run %s ended by an unforeseen %s", active.run.id, type(error).__name__)  # noqa: TRY400
            return _failed(internal_failure())
        if done.ok:
            return Ending(RunState.FINISHED, "answered", text=done.text)
        return Ending(RunState.FAILED, done.code[:64], done.text[:2000], "Ask for less at once, or try again.")

    async def _attempt(self, active: ActiveRun) -> Done:
        run = active.run
        await self._recorder.fact(
            Event.RUN_STARTED,
            run=run.id,
            agent=active.agent.name,
            subject=run.id,
            outcome="ok",
            details={
                "agent_id": active.agent.id,
                "chat_id": run.chat_id,
                "model": active.model.name,
                "profile": Profile.AGENT.value,
            },
        )
        await self._runs.mark_running(run.id)
        async with await self._spawn(active) as runner:
            channel = FrameChannel(runner.channel)
            try:
                await channel.send(
                    Hello(
                        protocol=RUNNER_PROTOCOL,
                        profile=Profile.AGENT.value,
                        instructions=active.agent.instructions,
                        messages=active.messages,
                        tools=(),
                        limits=active.limits,
                    )
                )
                return await self._broker.serve(active, channel)
            except RunFailure as failure:
                if failure.code == "runner_died":
                    await self._record_death(active, runner)
                raise

    async def _spawn(self, active: ActiveRun) -> Runner:
        try:
            return await self._spawner.spawn(active.run.id, Profile.AGENT)
        except Refusal as refusal:
            if refusal.problem.code is ProblemCode.SANDBOX_REFUSED:
                await self._recorder.fact(
                    Event.SANDBOX_REFUSED,
                    run=active.run.id,
                    agent=active.agent.name,
                    subject=active.run.id,
                    outcome="refused",
                    reason=refusal.problem.detail,
                    details={"profile": Profile.AGENT.value, "code": refusal.problem.code.value},
                )
            raise

    async def _record_death(self, active: ActiveRun, runner: Runner) -> None:
        ended = await runner.ended(_ENDED_SECONDS)
        details: dict[str, Any] = {"profile": Profile.AGENT.value}
        if ended is not None:
            details |= {"exit_code": ended.exit_code, "signal": ended.signal}
        await self._recorder.fact(
            Event.SANDBOX_KILLED,
            run=active.run.id,
            agent=active.agent.name,
            subject=active.run.id,
            outcome="failed",
            reason="the runner's process ended before the run was done",
            details=details,
        )

    async def _finish(self, active: ActiveRun, ending: Ending, duration_ms: int) -> None:
        run, journal = active.run, active.journal
        is_recorded = await self.record_end(run.id, active.agent.name, ending.state, ending.code, duration_ms)
        if ending.state is RunState.FINISHED:
            kind, data = EventKind.DONE, {"text": ending.text, "code": ending.code}
        else:
            kind, data = EventKind.ERROR, {"code": ending.code, "detail": ending.detail, "next": ending.next_step}
        try:
            await self._runs.close(
                run,
                ending.state,
                code=ending.code,
                detail=ending.detail,
                answer=journal.text or ending.text,
                rows=journal.last_rows(kind, data),
            )
            if is_recorded:
                await self._runs.mark_recorded(run.id)
        except Refusal as refusal:
            # The store is full or gone, or the chat was deleted: the next start closes what is left open.
            kind, data = EventKind.ERROR, _error_data(refusal)
        journal.show_last(kind, data)

    async def record_end(self, run_id: str, agent: str, state: RunState, code: str, duration_ms: int) -> bool:
        """Record an end; False where the ledger is out of reach, and the sweep tries again."""
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._recorder.fact(
                    _EVENTS[state],
                    run=run_id,
                    agent=agent,
                    subject=run_id,
                    outcome=state.value,
                    reason=code,
                    details={"code": code, "duration_ms": duration_ms},
                )
        except (Refusal, TimeoutError):
            return False
        return True


def _failed(failure: RunFailure) -> Ending:
    return Ending(RunState.FAILED, failure.code, failure.detail, failure.next_step)


def _error_data(refusal: Refusal) -> dict[str, str]:
    problem = refusal.problem
    return {"code": problem.code.value, "detail": problem.detail, "next": problem.next}
