"""The form that changes where a credential may go: each binding kept or taken away, and one more added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mycelos.operator.credential_pages import back_to_list, find_credential
from mycelos.operator.forms import FieldError, checked
from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_form
from mycelos.operator.where_form import EMPTY_WHERE, INJECTIONS, METHODS, bindings_of, kept_where
from mycelos.wire.binding import Binding
from mycelos.wire.operator import BINDINGS_LIMIT, BindCredential, CredentialView, check_label
from mycelos.wire.problems import ProblemCode, Refusal, joined


class BindingPage:
    """Shows the bindings in words, and puts others in their place; an error keeps everything that was typed."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        page = self._frame.widening
        return [
            Route("/credentials/{service}/bind", page(self._form), methods=["GET"]),
            Route("/credentials/{service}/bind", page(self._bind), methods=["POST"]),
        ]

    async def _form(self, request: Request, visit: Visit) -> Response:
        credential = await find_credential(self._frame, request)
        return self._show(visit, credential, _fields_of(credential))

    async def _bind(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {*EMPTY_WHERE, "label", "version"} - {"methods"}, {"methods", "keep", "ask"})
        demand_own_form(fields, visit.session)
        credential = await find_credential(self._frame, request)
        kept = {**kept_where(fields), "keep": fields["keep"], "ask": fields["ask"]}
        kept["label"] = str(fields.get("label", "")).strip()
        if fields.get("version") != str(credential.version):
            # The marks are of bindings that may stand elsewhere by now: none of them is taken over.
            text = "it was changed in the meantime; here it is as it stands now"
            return self._show(visit, credential, _fields_of(credential), 409, field="keep", error=text)
        try:
            await call(self._frame.client.bind, _bind_message(credential, kept))
        except FieldError as error:
            return self._show(visit, credential, kept, 400, field=error.field, error=error.message)
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.CONFLICT, ProblemCode.INVALID_REQUEST}:
                raise
            text = joined(refusal.problem.detail, refusal.problem.next)
            return self._show(visit, credential, kept, refusal.problem.status, field="host", error=text)
        return back_to_list(visit, "bound", credential.service)

    def _show(
        self,
        visit: Visit,
        credential: CredentialView,
        fields: Mapping[str, Any],
        status: int = 200,
        *,
        field: str = "",
        error: str = "",
    ) -> Response:
        return self._frame.show(
            "bind.html",
            visit,
            status,
            credential=credential,
            fields=fields,
            field=field,
            error=error,
            methods=METHODS,
            injections=INJECTIONS,
        )


def _fields_of(credential: CredentialView) -> dict[str, Any]:
    """The form as it is for a credential that nobody has changed yet."""
    count = range(len(credential.bindings))
    asked = [str(index) for index in count if credential.bindings[index].confirm]
    return {**EMPTY_WHERE, "label": credential.label, "keep": [str(index) for index in count], "ask": asked}


def _bind_message(credential: CredentialView, fields: Mapping[str, Any]) -> BindCredential:
    label = checked("label", check_label, fields["label"]) or credential.service
    kept = [
        msgspec.structs.replace(binding, confirm=str(index) in fields["ask"])
        for index, binding in enumerate(credential.bindings)
        if str(index) in fields["keep"]
    ]
    added: tuple[Binding, ...] = bindings_of(fields) if fields["host"].strip() else ()
    together = tuple(dict.fromkeys((*kept, *added)))
    if not 1 <= len(together) <= BINDINGS_LIMIT:
        message = f"expected at least one place and at most {BINDINGS_LIMIT}: keep one, or name a host below"
        raise FieldError(field="keep", message=message)
    return BindCredential(service=credential.service, bindings=together, label=label)
