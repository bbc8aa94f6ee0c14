"""The operator's door: the one place where credentials, bindings and egress rules change.

It is served on a unix socket for the owner alone and asks for the token beside it on every route. Each change is
on record before it happens: the intent is durable, then the effect, then its outcome.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mycelos import __version__
from mycelos.ledger.events import Event
from mycelos.ledger.query import read_event_query
from mycelos.proxy.egress.rules import EgressRule, EgressRules
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.operator_links import OneTimeLinks
from mycelos.proxy.vault.envelope import canonical_bindings
from mycelos.proxy.vault.records import Credential
from mycelos.proxy.vault.slots import system_clock, timestamp
from mycelos.proxy.vault.store import Vault
from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire import operator as messages
from mycelos.wire.binding import Binding
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, ProblemCode, Refusal

Message = TypeVar("Message")
Result = TypeVar("Result")

BODY_LIMIT: Final = 512 * 1024
"""Bytes of a request at most: a secret of 64 KiB with every byte escaped, and its bindings."""
_PRINCIPAL: Final = "operator"
_log = logging.getLogger(__name__)


class OperatorDoor:
    """The door as an ASGI application."""

    def __init__(
        self, *, vault: Vault, recorder: Recorder, rules: EgressRules, links: OneTimeLinks, token: str
    ) -> None:
        self._vault = vault
        self._recorder = recorder
        self._rules = rules
        self._links = links
        self._authorization = b"Bearer " + token.encode("ascii")
        self._started_at = timestamp(system_clock())
        self._app: ASGIApp = Starlette(
            routes=[
                Route("/credential/store", self._store, methods=["POST"]),
                Route("/credential/rotate", self._rotate, methods=["POST"]),
                Route("/credential/bind", self._bind, methods=["POST"]),
                Route("/credential/delete", self._delete, methods=["POST"]),
                Route("/credential/list", self._list, methods=["POST"]),
                Route("/credential/templates", self._templates, methods=["POST"]),
                Route("/egress/rules", self._egress_rules, methods=["POST"]),
                Route("/link/create", self._create_link, methods=["POST"]),
                Route("/link/redeem", self._redeem_link, methods=["POST"]),
                Route("/session/end", self._end_session, methods=["POST"]),
                Route("/status", self._status, methods=["GET"]),
                Route("/audit/events", self._audit_events, methods=["GET"]),
            ],
            exception_handlers={
                Refusal: _answer_refusal,
                HTTPException: _answer_http_error,
                Exception: _answer_failure,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the token is asked for before anything else is looked at."""
        if scope["type"] != "http":
            return
        answered = False

        async def watched_send(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._authenticate(scope)
            await self._app(scope, receive, watched_send)
        except Refusal as refusal:
            await _problem(refusal)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, its text could quote a secret
            _log.error("a request at the operator's door failed: %s", type(error).__name__)
            if not answered:
                await _failure()(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._authorization):
            return
        await self._recorder.fact(
            Event.PROXY_AUTH_FAILED, outcome="refused", reason="operator token", details={"door": "operator"}
        )
        raise Refusal(
            ProblemCode.UNAUTHORIZED,
            "The operator's token is missing or not the one of this start.",
            "Read it from proxy/operator.token in the data folder; it is new at each start.",
        )

    async def _store(self, request: Request) -> Response:
        wanted = await _decode(request, messages.StoreCredential)
        bindings = _with_confirm(_template_bindings(wanted), wanted.confirm)
        credential = await self._record(
            Event.CREDENTIAL_STORED,
            wanted.service,
            _binding_details(wanted.label or wanted.service, bindings),
            lambda: self._vault.store(wanted.service, wanted.label or wanted.service, bindings, wanted.secret),
        )
        return _answer(_view(credential), HTTPStatus.CREATED)

    async def _rotate(self, request: Request) -> Response:
        wanted = await _decode(request, messages.RotateCredential)
        credential = await self._record(
            Event.CREDENTIAL_ROTATED,
            wanted.service,
            {},
            lambda: self._vault.rotate(wanted.service, wanted.secret),
        )
        return _answer(_view(credential))

    async def _bind(self, request: Request) -> Response:
        wanted = await _decode(request, messages.BindCredential)
        credential = await self._record(
            Event.CREDENTIAL_BOUND,
            wanted.service,
            _binding_details(wanted.label, wanted.bindings),
            lambda: self._vault.bind(wanted.service, wanted.bindings, wanted.label),
        )
        return _answer(_view(credential))

    async def _delete(self, request: Request) -> Response:
        wanted = await _decode(request, messages.DeleteCredential)
        await self._record(Event.CREDENTIAL_DELETED, wanted.service, {}, lambda: self._vault.delete(wanted.service))
        return _answer(messages.Empty())

    async def _list(self, request: Request) -> Response:
        await _decode(request, messages.Empty)
        views = tuple(_view(credential) for credential in self._vault.list())
        return _answer(messages.CredentialList(credentials=views, damaged=self._vault.damaged()))

    async def _templates(self, request: Request) -> Response:
        await _decode(request, messages.Empty)
        views = tuple(
            messages.TemplateView(name=t.name, title=t.title, leaves_out=t.leaves_out, bindings=t.bindings)
            for t in TEMPLATES.values()
        )
        return _answer(messages.TemplateList(templates=views))

    async def _egress_rules(self, request: Request) -> Response:
        wanted: messages.RuleRequest = await _decode(request, messages.RuleRequest)
        match wanted:
            case messages.ListRules():
                pass
            case messages.AddRule():
                await self._record(
                    Event.EGRESS_RULE_CHANGED,
                    wanted.host,
                    {"changed": ["added"], **_rule_details(wanted)},
                    lambda: self._rules.add(wanted.method, wanted.scheme, wanted.host, wanted.port),
                )
            case messages.RemoveRule():
                known = next((rule for rule in self._rules.list() if rule.id == wanted.id), None)
                await self._record(
                    Event.EGRESS_RULE_CHANGED,
                    known.host if known else "",
                    {"changed": ["removed"], "rule_id": wanted.id, **(_rule_details(known) if known else {})},
                    lambda: self._rules.remove(wanted.id),
                )
            case messages.SetWeb():
                await self._record(
                    Event.EGRESS_RULE_CHANGED,
                    messages.ANY_HOST,
                    {"changed": ["web"], "enabled": wanted.enabled},
                    lambda: self._rules.set_web(enabled=wanted.enabled),
                )
        return _answer(messages.RuleList(rules=tuple(map(_rule_view, self._rules.list()))))

    async def _create_link(self, request: Request) -> Response:
        await _decode(request, messages.Empty)
        await self._recorder.fact(Event.OPERATOR_LINK_CREATED, principal=_PRINCIPAL, details={"door": "operator"})
        return _answer(self._links.create(), HTTPStatus.CREATED)

    async def _redeem_link(self, request: Request) -> Response:
        wanted = await _decode(request, messages.RedeemLink)
        if not self._links.redeem(wanted.code):
            await self._recorder.fact(Event.OPERATOR_LOGIN_FAILED, outcome="refused", details={"method": "link"})
            raise Refusal(
                ProblemCode.FORBIDDEN,
                "This link was used already, or is older than ten minutes.",
                "Make a fresh one with: mycelos open --operator",
            )
        await self._recorder.fact(Event.OPERATOR_LOGIN, principal=_PRINCIPAL, outcome="ok", details={"method": "link"})
        return _answer(messages.Empty())

    async def _end_session(self, request: Request) -> Response:
        await _decode(request, messages.Empty)
        await self._recorder.fact(Event.OPERATOR_LOGOUT, principal=_PRINCIPAL, outcome="ok")
        return _answer(messages.Empty())

    async def _status(self, _request: Request) -> Response:
        return _answer(
            messages.DoorStatus(
                version=__version__,
                process=os.getpid(),
                started_at=self._started_at,
                key_slot=self._vault.keys.kid,
                credentials=len(self._vault.list()),
                damaged=len(self._vault.damaged()),
                egress_rules=len(self._rules.list()),
            )
        )

    async def _audit_events(self, request: Request) -> Response:
        query = read_event_query(request.query_params.multi_items(), datetime.now(UTC))
        entries = await self._recorder.events(**msgspec.structs.asdict(query))
        return _answer({"entries": [entry.as_dict() for entry in entries]})

    async def _record(
        self, event: Event, subject: str, details: Mapping[str, Any], effect: Callable[[], Awaitable[Result]]
    ) -> Result:
        intent = await self._recorder.intent(event, principal=_PRINCIPAL, subject=subject, details=details)
        try:
            result = await effect()
        except Refusal as refusal:
            await self._recorder.outcome(intent, outcome="refused", reason=refusal.problem.code.value)
            raise
        except Exception as error:
            await self._recorder.outcome(intent, outcome="failed", reason=type(error).__name__)
            raise
        await self._recorder.outcome(intent, outcome="ok", details=_result_details(result))
        return result


async def _decode(request: Request, message_type: Any) -> Any:
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            ProblemCode.INVALID_REQUEST, "The content type is not application/json.", "Send the body as JSON."
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Refusal(
                ProblemCode.TOO_LARGE, f"The request is longer than {BODY_LIMIT} bytes.", "Send a shorter one."
            )
    return decode_json(bytes(body), message_type, "request")


def _template_bindings(wanted: messages.StoreCredential) -> tuple[Binding, ...]:
    if wanted.template is None:
        return wanted.bindings
    template = TEMPLATES.get(wanted.template)
    if template is None:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "template: there is none of this name.",
            f"Use one of {', '.join(TEMPLATES)}, or name a host.",
        )
    return template.bindings


def _with_confirm(bindings: tuple[Binding, ...], confirm: bool) -> tuple[Binding, ...]:
    return tuple(msgspec.structs.replace(binding, confirm=binding.confirm or confirm) for binding in bindings)


def _view(credential: Credential) -> messages.CredentialView:
    return messages.CredentialView(
        id=credential.id,
        version=credential.version,
        service=credential.service,
        label=credential.label,
        bindings=credential.bindings,
        created_at=credential.created_at,
        changed_at=credential.changed_at,
        last_used_at=credential.last_used_at,
    )


def _rule_view(rule: EgressRule) -> messages.RuleView:
    return messages.RuleView(
        id=rule.id,
        method=rule.method,
        scheme=rule.scheme,
        host=rule.host,
        port=rule.port,
        created_at=rule.created_at,
    )


def _binding_details(label: str | None, bindings: tuple[Binding, ...]) -> dict[str, Any]:
    details: dict[str, Any] = {
        "hosts": sorted({f"{binding.scheme}://{binding.host}:{binding.port}" for binding in bindings}),
        "methods": sorted({method.value for binding in bindings for method in binding.methods}),
        "paths": sorted({"/" + "/".join(binding.path) for binding in bindings}),
        "binding_digest": hashlib.sha256(canonical_bindings(bindings).encode("utf-8")).hexdigest(),
        "confirm": any(binding.confirm for binding in bindings),
        "count": len(bindings),
    }
    return details if label is None else {"label": label, **details}


def _rule_details(rule: messages.AddRule | EgressRule) -> dict[str, Any]:
    return {"method": str(rule.method), "scheme": rule.scheme, "host": rule.host, "port": rule.port}


def _result_details(result: object) -> dict[str, Any]:
    match result:
        case Credential():
            return {"credential_id": result.id, "credential_version": result.version}
        case EgressRule():
            return {"rule_id": result.id}
        case _:
            return {}


def _answer(message: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(message), status, headers, media_type="application/json")


def _problem(refusal: Refusal) -> Response:
    problem = refusal.problem
    headers = {REFUSED_HEADER: problem.code.value, "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(problem), problem.status, headers, media_type=MEDIA_TYPE)


def _failure() -> Response:
    return _problem(
        Refusal(
            ProblemCode.INTERNAL,
            "The proxy failed at this request.",
            "See the audit log for what was done: mycelos db audit",
        )
    )


async def _answer_failure(_request: Request, _error: Exception) -> Response:
    return _failure()


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return _problem(error)


async def _answer_http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    code, detail = {
        404: (ProblemCode.NOT_FOUND, "The operator's door has no such route."),
        405: (ProblemCode.METHOD_NOT_ALLOWED, "This route answers another method."),
    }.get(status, (ProblemCode.INVALID_REQUEST, "The request cannot be read."))
    return _problem(Refusal(code, detail, "See the operator's door in docs/reference."))
