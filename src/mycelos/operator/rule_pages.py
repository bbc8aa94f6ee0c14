"""What may be asked for without a credential: the egress rules, and the question about public web pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mycelos.operator.forms import FieldError, parse_host, parse_methods
from mycelos.operator.frame import Frame, Visit, call
from mycelos.operator.posted_form import demand_own_form, read_choice, read_form
from mycelos.wire.binding import Method
from mycelos.wire.operator import AddRule, ListRules, RemoveRule, SetWeb
from mycelos.wire.problems import ProblemCode, Refusal, joined


class RulePages:
    """The rules, and what changes them."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        return [
            Route("/rules", self._frame.signed_in(self._rules), methods=["GET"]),
            Route("/rules/add", self._frame.widening(self._add), methods=["POST"]),
            Route("/rules/{id}/remove", self._frame.signed_in(self._remove), methods=["POST"]),
            Route("/rules/web", self._frame.widening(self._answer_web), methods=["POST"]),
        ]

    async def _rules(self, _request: Request, visit: Visit) -> Response:
        return await self._show(visit, {"host": "", "methods": ["GET"]})

    async def _add(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"host"}, {"methods"})
        demand_own_form(fields, visit.session)
        kept = {"host": str(fields.get("host", "")), "methods": fields["methods"]}
        try:
            scheme, host, port = parse_host(kept["host"])
            for method in parse_methods(kept["methods"]):
                wanted = AddRule(method=method, scheme=scheme, host=host, port=port)
                await call(self._frame.client.egress_rules, wanted)
        except FieldError as error:
            return await self._show(visit, kept, 400, error.field, error.message)
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.CONFLICT, ProblemCode.INVALID_REQUEST}:
                raise
            text = joined(refusal.problem.detail, refusal.problem.next)
            return await self._show(visit, kept, refusal.problem.status, "host", text)
        return RedirectResponse(f"{visit.home}/rules", 303)

    async def _remove(self, request: Request, visit: Visit) -> Response:
        demand_own_form(await read_form(request, set()), visit.session)
        await call(self._frame.client.egress_rules, RemoveRule(id=request.path_params["id"][:64]))
        return RedirectResponse(f"{visit.home}/rules", 303)

    async def _answer_web(self, request: Request, visit: Visit) -> Response:
        fields = await read_form(request, {"enabled"})
        demand_own_form(fields, visit.session)
        await call(self._frame.client.egress_rules, SetWeb(enabled=read_choice(fields)))
        return RedirectResponse(f"{visit.home}/rules", 303)

    async def _show(
        self, visit: Visit, fields: Mapping[str, Any], status: int = 200, field: str = "", error: str = ""
    ) -> Response:
        rules = await call(self._frame.client.egress_rules, ListRules())
        return self._frame.show(
            "rules.html", visit, status, rules=rules, fields=fields, field=field, error=error, methods=tuple(Method)
        )
