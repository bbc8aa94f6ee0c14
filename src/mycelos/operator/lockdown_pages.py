"""The stop of everything, and its lifting."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_choice, read_form


class LockdownPages:
    """The question, and what comes of it."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        return [
            Route("/lockdown", self._frame.signed_in(self._form), methods=["GET"]),
            Route("/lockdown", self._frame.signed_in(self._set), methods=["POST"]),
        ]

    async def _form(self, _request: Request, visit: Visit) -> Response:
        return self._frame.show("lockdown.html", visit)

    async def _set(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"enabled"})
        demand_own_form(fields, visit.session)
        wanted = read_choice(fields)
        if not wanted:
            self._frame.demand_fresh(visit)
        answer = await call(partial(self._frame.client.set_lockdown, enabled=wanted))
        if not answer.locked:
            return RedirectResponse(f"{visit.home}/", 303)
        shown = self._frame.show("locked.html", None, since=answer.since, shortcomings=answer.shortcomings)
        return self._frame.end(visit.session, visit.home, shown)
