"""The form of a new credential: its secret, and where it may go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mycelos.operator.credential_pages import back_to_list
from mycelos.operator.forms import FieldError, checked
from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.operator.where_form import EMPTY_WHERE, INJECTIONS, METHODS, bindings_of, kept_where
from mycelos.wire.operator import StoreCredential, check_label, check_secret, check_service
from mycelos.wire.problems import ProblemCode, Refusal, joined

_EMPTY_FORM: Final = {**EMPTY_WHERE, "service": "", "label": "", "template": ""}


class NewCredentialPage:
    """Shows the form, and stores what was typed into it; an error keeps everything but the secret."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        return [
            Route("/credentials/new", self._frame.widening(self._form), methods=["GET"]),
            Route("/credentials/new", self._frame.widening(self._create), methods=["POST"]),
        ]

    async def _form(self, _request: Request, visit: Visit) -> Response:
        return await self._show(visit, dict(_EMPTY_FORM))

    async def _create(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {*_EMPTY_FORM, "secret"} - {"methods"}, {"methods"})
        demand_own_form(fields, visit.session)
        kept = {**{name: fields.get(name, "") for name in _EMPTY_FORM}, **kept_where(fields)}
        try:
            message = _store_message(kept, str(fields.get("secret", "")))
            await call(self._frame.client.store, message)
        except FieldError as error:
            return await self._show(visit, kept, 400, error.field, error.message)
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.CONFLICT, ProblemCode.INVALID_REQUEST}:
                raise
            named, _, rest = refusal.problem.detail.partition(": ")
            field, detail = (named, rest) if named in _EMPTY_FORM else ("service", refusal.problem.detail)
            text = joined(detail, refusal.problem.next)
            return await self._show(visit, kept, refusal.problem.status, field, text)
        return back_to_list(visit, "stored", message.service)

    async def _show(
        self, visit: Visit, fields: Mapping[str, Any], status: int = 200, field: str = "", error: str = ""
    ) -> Response:
        return self._frame.show(
            "new.html",
            visit,
            status,
            fields=fields,
            field=field,
            error=error,
            templates=await call(self._frame.client.templates),
            methods=METHODS,
            injections=INJECTIONS,
        )


def _store_message(fields: Mapping[str, Any], secret: str) -> StoreCredential:
    service = checked("service", check_service, fields["service"].strip())
    label = checked("label", check_label, fields["label"].strip())
    return StoreCredential(
        service=service,
        secret=checked("secret", check_secret, secret),
        label=label,
        template=fields["template"] or None,
        bindings=() if fields["template"] else bindings_of(fields),
        confirm=fields["confirm"],
    )
