"""Routes of the operator's door: the egress rules, the answer about public web pages, and lockdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.views import rule_details, rule_view
from mycelos.wire import operator as messages
from mycelos.wire.lockdown import SetLockdown

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.egress.rules import EgressRules
    from mycelos.proxy.lockdown_step import LockdownStep
    from mycelos.proxy.operator_door.recorded import RecordedChange


class RuleRoutes:
    """What may leave without a credential, and whether anything may."""

    def __init__(self, rules: EgressRules, lockdown: LockdownStep, change: RecordedChange) -> None:
        self._rules = rules
        self._lockdown = lockdown
        self._change = change

    def routes(self) -> list[Route]:
        """/egress/rules and /lockdown."""
        return [
            Route("/egress/rules", self._egress_rules, methods=["POST"]),
            Route("/lockdown", self._set_lockdown, methods=["POST"]),
        ]

    async def _egress_rules(self, request: Request) -> Response:
        wanted: messages.RuleRequest = await read_message(request, messages.RuleRequest)
        match wanted:
            case messages.ListRules():
                pass
            case messages.AddRule():
                await self._change(
                    Event.EGRESS_RULE_CHANGED,
                    wanted.host,
                    {"changed": ["added"], **rule_details(wanted)},
                    lambda: self._rules.add(wanted.method, wanted.scheme, wanted.host, wanted.port),
                )
            case messages.RemoveRule():
                known = next((rule for rule in self._rules.list() if rule.id == wanted.id), None)
                await self._change(
                    Event.EGRESS_RULE_CHANGED,
                    known.host if known else "",
                    {"changed": ["removed"], "rule_id": wanted.id, **(rule_details(known) if known else {})},
                    lambda: self._rules.remove(wanted.id),
                )
            case messages.SetWeb():
                await self._change(
                    Event.EGRESS_RULE_CHANGED,
                    messages.ANY_HOST,
                    {"changed": ["web"], "enabled": wanted.enabled},
                    lambda: self._rules.set_web(enabled=wanted.enabled),
                )
        return answer(messages.RuleList(rules=tuple(map(rule_view, self._rules.list()))))

    async def _set_lockdown(self, request: Request) -> Response:
        wanted = await read_message(request, SetLockdown)
        return answer(await (self._lockdown.set() if wanted.enabled else self._lockdown.lift()))
