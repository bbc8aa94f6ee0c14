"""Requests that wait for a person: the list, and each one shown exactly as it will be sent, to be decided once.

Where a passkey is enrolled, an approval is signed with one: its challenge is the digest of what is shown.
"""

from __future__ import annotations

import json
from typing import Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.passkey_pages import read_answer
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.operator.shown_body import Body
from mycelos.wire.approvals import ApprovalView, DecideApproval
from mycelos.wire.passkeys import Assertion
from mycelos.wire.problems import ProblemCode, Refusal, joined


class ApprovalPages:
    """What is shown is what is decided: the form carries the digest of the request on the page."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        page = self._frame.signed_in
        return [
            Route("/approvals", page(self._list), methods=["GET"]),
            Route("/approvals/{id}", page(self._one), methods=["GET"]),
            Route("/approvals/{id}", page(self._decide), methods=["POST"]),
        ]

    async def _list(self, request: Request, visit: Visit) -> Response:
        approvals = await call(self._frame.client.approvals)
        done = request.query_params.get("done", "")
        return self._frame.show("approvals.html", visit, approvals=approvals, done=done)

    async def _one(self, request: Request, visit: Visit) -> Response:
        return await self._show(request, visit, await self._find(request))

    async def _decide(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"digest", "decision", "credential"})
        demand_own_form(fields, visit.session)
        decision = _decision(str(fields.get("decision", "")))
        approval = await self._find(request)
        is_signed = decision == "approve" and bool(visit.status.passkeys)
        try:
            message = DecideApproval(
                id=approval.id,
                digest=str(fields.get("digest", "")),
                decision=decision,
                assertion=msgspec.to_builtins(read_answer(fields, Assertion)) if is_signed else None,
            )
            await call(self._frame.client.decide_approval, message)
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.CONFLICT, ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST}:
                raise
            error = joined(refusal.problem.detail, refusal.problem.next)
            return await self._show(request, visit, approval, refusal.problem.status, error)
        return RedirectResponse(f"{visit.home}/approvals?done={decision}", 303)

    async def _find(self, request: Request) -> ApprovalView:
        for approval in await call(self._frame.client.approvals):
            if approval.id == request.path_params["id"]:
                return approval
        raise HTTPException(404)

    async def _show(
        self, request: Request, visit: Visit, approval: ApprovalView, status: int = 200, error: str = ""
    ) -> Response:
        options = await call(self._frame.client.begin_approval, approval.digest) if visit.status.passkeys else None
        return self._frame.show(
            "approval.html",
            visit,
            status,
            approval=approval,
            body=Body.of(approval),
            options=json.dumps(options),
            elsewhere=self._frame.elsewhere(request),
            error=error,
        )


def _decision(text: str) -> Literal["approve", "refuse"]:
    match text:
        case "approve":
            return "approve"
        case "refuse":
            return "refuse"
        case _:
            raise HTTPException(400)
