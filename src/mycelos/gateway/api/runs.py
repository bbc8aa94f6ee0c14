"""`/api/runs`: following and stopping the work of agents."""

from __future__ import annotations

from fastapi import APIRouter, Request

from mycelos.gateway.api.event_stream import EventStream, EventStreams, resume_after
from mycelos.gateway.api.schemas import Cancelled, RunView
from mycelos.gateway.identity.principal import SignIn, require_principal
from mycelos.gateway.identity.sessions import Sessions, cookie_values
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.gateway.services import Services
from mycelos.gateway.store.records import Run
from mycelos.wire.problems import ProblemCode, Refusal


def run_routes(services: Services, sessions: Sessions, streams: EventStreams) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    async def find(run_id: str) -> Run:
        run = await services.store.runs.find(run_id)
        if run is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no such run.", "GET /api/runs lists those that exist.")
        return run

    @router.get("")
    async def list_runs(chat: str | None = None) -> list[RunView]:
        """The newest runs first, of one chat or of all."""
        return [RunView.of(run) for run in await services.store.runs.all(chat)]

    @router.get("/{run_id}")
    async def show_run(run_id: str) -> RunView:
        """One run and how it ended."""
        return RunView.of(await find(run_id))

    @router.get("/{run_id}/events", response_model=None, responses={200: {"content": {"text/event-stream": {}}}})
    async def follow_run(run_id: str, request: Request, after: str | None = None) -> EventStream:
        """The run's events as they happen: token, tool_call, tool_result, approval, and last done or error."""
        run = await find(run_id)
        principal = require_principal(request.scope)

        async def may_go_on() -> bool:
            if principal.sign_in is not SignIn.SESSION:
                return True
            return await sessions.find(cookie_values(request.scope, request.state.origin)) is not None

        start = resume_after(single_header(request.scope, b"last-event-id"), after)
        return streams.respond(lambda number: services.runs.events(run.id, number), start, may_go_on)

    @router.post("/{run_id}/cancel")
    async def cancel_run(run_id: str) -> Cancelled:
        """Ask the run to end."""
        run = await find(run_id)
        return Cancelled(cancelled=await services.runs.cancel(run.id))

    return router
