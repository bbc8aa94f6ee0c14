"""Passkeys at the vault page: a sign-in with one, and the list where a person who is signed in adds and removes them.

The page passes on what the browser gives it. Whether it is good is decided in the proxy.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.operator.sign_in_pages import show_sign_in
from mycelos.wire.decoding import decode_request
from mycelos.wire.passkeys import Assertion, PasskeyView, Registration
from mycelos.wire.problems import ProblemCode, Refusal, joined

Answer = TypeVar("Answer", bound=msgspec.Struct)


class PasskeyPages:
    """The ceremonies, each a form that the page's script completes, and the list."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """What answers without a session."""
        return [
            Route("/login/passkey", self._begin_sign_in, methods=["POST"]),
            Route("/login/passkey/answer", self._sign_in, methods=["POST"]),
        ]

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        page, widening = self._frame.signed_in, self._frame.widening
        return [
            Route("/passkeys", page(self._list), methods=["GET"]),
            Route("/passkeys/new", widening(self._begin_enrolment), methods=["POST"]),
            Route("/passkeys/enrol", widening(self._enrol), methods=["POST"]),
            Route("/passkeys/{id}/remove", page(self._remove_form), methods=["GET"]),
            Route("/passkeys/{id}/remove", widening(self._remove), methods=["POST"]),
        ]

    async def _begin_sign_in(self, request: Request) -> Response:
        await read_form(request, {"passkey"})
        options = await call(self._frame.client.begin_passkey_sign_in)
        return self._frame.show("passkey_sign_in.html", None, options=json.dumps(options))

    async def _sign_in(self, request: Request) -> Response:
        fields = await read_form(request, {"credential"})
        # Asked for first: a lockdown that comes in between ends the session that begins here.
        newest = (await call(self._frame.client.status)).lockdown.last
        try:
            passkey = await call(self._frame.client.finish_passkey_sign_in, read_answer(fields, Assertion))
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST}:
                raise
            error = joined(refusal.problem.detail, refusal.problem.next)
            return show_sign_in(self._frame, request, refusal.problem.status, error=error)
        return self._frame.begin_session(newest, passkey.id)

    async def _list(self, request: Request, visit: Visit) -> Response:
        return await self._show(request, visit)

    async def _begin_enrolment(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"label"})
        demand_own_form(fields, visit.session)
        label = str(fields.get("label", "")).strip()
        try:
            options = await call(self._frame.client.begin_enrolment, visit.session.name, label)
        except ValueError as error:
            return await self._show(request, visit, 400, label=label, error=str(error).removeprefix("label: "))
        except Refusal as refusal:
            if refusal.problem.code is not ProblemCode.CONFLICT:
                raise
            text = joined(refusal.problem.detail, refusal.problem.next)
            return await self._show(request, visit, refusal.problem.status, label=label, error=text)
        return self._frame.show("passkey_new.html", visit, label=label, options=json.dumps(options))

    async def _enrol(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"credential"})
        demand_own_form(fields, visit.session)
        registration = read_answer(fields, Registration)
        passkey = await call(self._frame.client.finish_enrolment, visit.session.name, registration)
        return RedirectResponse(f"{visit.home}/passkeys?done={passkey.id}", 303)

    async def _remove_form(self, request: Request, visit: Visit) -> Response:
        passkey = await self._find(request)
        is_own = passkey.id == visit.session.passkey
        return self._frame.show("passkey_remove.html", visit, passkey=passkey, is_own=is_own)

    async def _remove(self, request: Request, visit: Visit) -> Response:
        demand_own_form(await read_form(request, set()), visit.session)
        await call(self._frame.client.remove_passkey, (await self._find(request)).id)
        return RedirectResponse(f"{visit.home}/passkeys", 303)

    async def _find(self, request: Request) -> PasskeyView:
        for passkey in await call(self._frame.client.passkeys):
            if passkey.id == request.path_params["id"]:
                return passkey
        raise HTTPException(404)

    async def _show(
        self, request: Request, visit: Visit, status: int = 200, *, label: str = "", error: str = ""
    ) -> Response:
        return self._frame.show(
            "passkeys.html",
            visit,
            status,
            passkeys=await call(self._frame.client.passkeys),
            done=request.query_params.get("done", ""),
            elsewhere=self._frame.elsewhere(request),
            may_change=self._frame.may_widen(visit),
            label=label,
            error=error,
        )


def read_answer(fields: dict[str, Any], answer_type: type[Answer]) -> Answer:
    """What the browser gave for a passkey.

    Raises:
        Refusal: `invalid_request`; the script has not run, or what it sent is of another form.
    """
    text = str(fields.get("credential", ""))
    if not text:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "credential: the browser sent no passkey.",
            "Allow this page its script, which passkeys alone need; or sign in with: mycelos open --operator",
        )
    return decode_request(text.encode("utf-8", "surrogatepass"), answer_type, "credential")
