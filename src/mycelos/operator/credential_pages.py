"""The credentials that there are: shown, their secrets replaced, and deleted."""

from __future__ import annotations

from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.forms import FieldError, checked
from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.wire.operator import CredentialTested, CredentialView, RotateCredential, check_secret
from mycelos.wire.problems import ProblemCode, Refusal


class CredentialPages:
    """The list, and what is done to one of its entries."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        page, widening = self._frame.signed_in, self._frame.widening
        return [
            Route("/", page(self._credentials), methods=["GET"]),
            Route("/credentials/{service}/rotate", widening(self._rotate_form), methods=["GET"]),
            Route("/credentials/{service}/rotate", widening(self._rotate), methods=["POST"]),
            Route("/credentials/{service}/test", page(self._test_form), methods=["GET"]),
            Route("/credentials/{service}/test", page(self._test), methods=["POST"]),
            Route("/credentials/{service}/confirm", widening(self._confirm), methods=["POST"]),
            Route("/credentials/{service}/delete", page(self._delete_form), methods=["GET"]),
            Route("/credentials/{service}/delete", page(self._delete), methods=["POST"]),
        ]

    async def _credentials(self, request: Request, visit: Visit) -> Response:
        found = await call(self._frame.client.credentials)
        return self._frame.show(
            "credentials.html",
            visit,
            credentials=found.credentials,
            damaged=found.damaged,
            done=request.query_params.get("done", ""),
            service=request.query_params.get("service", ""),
        )

    async def _rotate_form(self, request: Request, visit: Visit) -> Response:
        return self._frame.show("rotate.html", visit, credential=await find_credential(self._frame, request), error="")

    async def _rotate(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"secret"})
        demand_own_form(fields, visit.session)
        credential = await find_credential(self._frame, request)
        try:
            secret = checked("secret", check_secret, str(fields.get("secret", "")))
        except FieldError as error:
            return self._frame.show("rotate.html", visit, 400, credential=credential, error=error.message)
        await call(self._frame.client.rotate, RotateCredential(service=credential.service, secret=secret))
        return back_to_list(visit, "rotated", credential.service)

    async def _test_form(self, request: Request, visit: Visit) -> Response:
        return self._show_test(visit, await find_credential(self._frame, request))

    async def _test(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"path"})
        demand_own_form(fields, visit.session)
        credential = await find_credential(self._frame, request)
        path = str(fields.get("path", "")).strip()
        try:
            tested = await call(self._frame.client.test, credential.service, path or None)
        except ValueError as error:
            return self._show_test(visit, credential, 400, path=path, error=str(error).removeprefix("path: "))
        except Refusal as refusal:
            if refusal.problem.code is not ProblemCode.INVALID_REQUEST:
                raise
            error_text = refusal.problem.detail.removeprefix("path: ")
            return self._show_test(visit, credential, 400, path=path, error=error_text)
        return self._show_test(visit, credential, path=path, tested=tested)

    def _show_test(
        self,
        visit: Visit,
        credential: CredentialView,
        status: int = 200,
        *,
        path: str = "",
        error: str = "",
        tested: CredentialTested | None = None,
    ) -> Response:
        return self._frame.show(
            "test.html", visit, status, credential=credential, path=path, error=error, tested=tested
        )

    async def _confirm(self, request: Request, visit: Visit) -> Response:
        demand_own_form(await read_form(request, set()), visit.session)
        credential = await find_credential(self._frame, request)
        await call(self._frame.client.confirm, credential.service)
        return back_to_list(visit, "confirmed", credential.service)

    async def _delete_form(self, request: Request, visit: Visit) -> Response:
        return self._frame.show("delete.html", visit, service=(await self._find_name(request)))

    async def _delete(self, request: Request, visit: Visit) -> Response:
        demand_own_form(await read_form(request, set()), visit.session)
        service = await self._find_name(request)
        await call(self._frame.client.delete, service)
        return back_to_list(visit, "deleted", service)

    async def _find_name(self, request: Request) -> str:
        found = await call(self._frame.client.credentials)
        for name in (*(credential.service for credential in found.credentials), *found.damaged):
            if name == request.path_params["service"]:
                return name
        raise HTTPException(404)


async def find_credential(frame: Frame, request: Request) -> CredentialView:
    """The credential that the request's path names.

    Raises:
        HTTPException: 404, there is none.
    """
    for credential in (await call(frame.client.credentials)).credentials:
        if credential.service == request.path_params["service"]:
            return credential
    raise HTTPException(404)


def back_to_list(visit: Visit, done: str, service: str) -> Response:
    """To the list, which says what was done."""
    return RedirectResponse(f"{visit.home}/?done={done}&service={quote(service, safe='')}", 303)
