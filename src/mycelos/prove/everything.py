"""L1: every route of the proxy's doors is used at a twin, each with the event that it has to leave.

The tables are held against the doors' own by tests/claims/test_everything_is_recorded.py: a route that stands in none
of them fails there.
"""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.ledger.events import Event
from mycelos.prove.outcome import Finding
from mycelos.prove.page import find_page
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.prove.installation import Installation

OPERATOR, GATEWAY = "operator", "gateway"
_SECONDS: Final = 30.0
_HEX: Final = "ab" * 32
_BYTES: Final = "QUJDRA"
_APPROVAL: Final = "appr_" + "0" * 26
_STORED: Final = "walked"


@dataclass(frozen=True)
class Step:
    """One use of one route, and what has to be on record after it. ``bearer`` in the place of the right one."""

    door: str
    method: str
    route: str
    event: Event
    body: Callable[[Twin], Any]
    target: Callable[[Twin], str] | None = None
    bearer: str | None = None
    what: str = ""


def _binding(twin: Twin) -> list[Any]:
    return [msgspec.to_builtins(twin.binding(twin.port))]


def _rule(twin: Twin) -> dict[str, Any]:
    return {"scheme": "http", "host": "127.0.0.1", "port": twin.port}


def _call(twin: Twin, path: str) -> dict[str, Any]:
    return {"method": "GET", "url": f"http://127.0.0.1:{twin.port}/{path}", "inject_credential": SERVICE}


def _fixed(body: Any) -> Callable[[Twin], Any]:
    return lambda _twin: body


def _operator(route: str, event: Event, body: Any, what: str = "") -> Step:
    return Step(OPERATOR, "POST", route, event, body if callable(body) else _fixed(body), what=what)


_ANSWER: Final = {"id": _BYTES, "type": "public-key"}

STEPS: Final = (
    _operator("/credential/store", Event.CREDENTIAL_STORED,
              lambda twin: {"service": _STORED, "secret": "walked-secret", "bindings": _binding(twin)}),
    _operator("/credential/bind", Event.CREDENTIAL_BOUND,
              lambda twin: {"service": _STORED, "bindings": _binding(twin)}),
    _operator("/credential/rotate", Event.CREDENTIAL_ROTATED, {"service": _STORED, "secret": "another-secret"}),
    _operator("/credential/test", Event.PROXY_HTTP_REQUEST, {"service": _STORED, "path": "/bound/item"}),
    _operator("/credential/confirm", Event.CREDENTIAL_CONFIRMED, {"service": _STORED}),
    _operator("/credential/delete", Event.CREDENTIAL_DELETED, {"service": _STORED}),
    _operator("/credential/delete", Event.CREDENTIAL_DELETED, {"service": _STORED}, "what is not there"),
    _operator("/materialize/arm", Event.CREDENTIAL_ARMED, {"service": "telegram"}),
    _operator("/egress/rules", Event.EGRESS_RULE_CHANGED,
              lambda twin: {"action": "add", "method": "GET", **_rule(twin)}, "add"),
    _operator("/egress/rules", Event.EGRESS_RULE_CHANGED, {"action": "remove", "id": "nowhere"}, "remove"),
    _operator("/egress/rules", Event.EGRESS_RULE_CHANGED, {"action": "web", "enabled": True}, "web"),
    _operator("/approval/decide", Event.CONFIRM_GRANTED,
              {"id": _APPROVAL, "digest": _HEX, "decision": "approve"}, "approve"),
    _operator("/approval/decide", Event.CONFIRM_REFUSED,
              {"id": _APPROVAL, "digest": _HEX, "decision": "refuse"}, "refuse"),
    _operator("/backup/created", Event.BACKUP_CREATED,
              {"file_label": "a.age", "size": 1, "sha256": _HEX, "count": 1, "seq": 0, "leaf_hash": _HEX,
               "vault_generation": None, "version": "1", "made_at": "2026-01-01T00:00:00Z"}),
    _operator("/audit/exported", Event.AUDIT_EXPORTED, {"last_seq": 0, "file_label": "a.jsonl"}),
    _operator("/link/create", Event.OPERATOR_LINK_CREATED, {}),
    _operator("/link/redeem", Event.OPERATOR_LOGIN, lambda twin: {"code": twin.operator.create_link().code}),
    _operator("/link/redeem", Event.OPERATOR_LOGIN_FAILED, {"code": "guessed"}, "a guess"),
    _operator("/session/end", Event.OPERATOR_LOGOUT, {"count": 1}),
    _operator("/session/refused", Event.OPERATOR_REFUSED, {"method": "POST", "status": 403, "attempts": 1}),
    _operator("/passkey/enrol/finish", Event.OPERATOR_PASSKEY_ENROLLED,
              {"session": _HEX, "registration": {**_ANSWER, "response": {
                  "clientDataJSON": _BYTES, "attestationObject": _BYTES}}}),
    _operator("/passkey/sign-in/finish", Event.OPERATOR_LOGIN_FAILED,
              {"assertion": {**_ANSWER, "response": {
                  "clientDataJSON": _BYTES, "authenticatorData": _BYTES, "signature": _BYTES}}}),
    _operator("/passkey/remove", Event.OPERATOR_PASSKEY_REMOVED, {"id": "passkey_" + "0" * 26}),
    _operator("/key/rotate", Event.KEY_ROTATED, {"name": "ledger-args-mac"}),
    _operator("/lockdown", Event.LOCKDOWN_SET, {"enabled": True}, "set"),
    _operator("/lockdown", Event.LOCKDOWN_LIFTED, {"enabled": False}, "lift"),
    Step(OPERATOR, "POST", "/nowhere", Event.PROXY_AUTH_FAILED, _fixed({}), what="an unknown route"),
    Step(OPERATOR, "POST", "/lockdown", Event.PROXY_AUTH_FAILED, _fixed({}), bearer="guessed", what="a wrong token"),
    Step(GATEWAY, "POST", "/http", Event.PROXY_HTTP_REQUEST,
         lambda twin: _call(twin, "bound/item")),
    Step(GATEWAY, "POST", "/http", Event.PROXY_BINDING_VIOLATION,
         lambda twin: _call(twin, "elsewhere"),
         what="where the credential is not bound"),
    Step(GATEWAY, "GET", "/forward/", Event.PROXY_HTTP_REQUEST, _fixed(None),
         lambda twin: f"/forward/http/127.0.0.1:{twin.port}/bound/item"),
    Step(GATEWAY, "POST", "/credential/materialize", Event.PROXY_MATERIALIZE_DENIED, _fixed({"service": "telegram"})),
    Step(GATEWAY, "POST", "/secret/check", Event.PROXY_SECRET_REFUSED, lambda twin: {"text": twin.canary}),
    Step(GATEWAY, "POST", "/audit/append", Event.GATEWAY_STARTED, _fixed({"event": "gateway.started"})),
    Step(GATEWAY, "POST", "/audit/append", Event.PROXY_SECRET_REFUSED,
         lambda twin: {"event": "gateway.started", "reason": twin.canary}, what="an entry with a stored secret"),
    Step(GATEWAY, "POST", "/credential/store", Event.PROXY_AUTH_FAILED, _fixed({}), what="a route of the operator's"),
    Step(GATEWAY, "POST", "/http", Event.PROXY_AUTH_FAILED, _fixed({}), bearer="guessed", what="a wrong bearer"),
)  # fmt: skip
"""In this order: a later one builds on what an earlier one left."""

QUIET: Final = {
    (OPERATOR, "POST", "/credential/list"): ("reads", {}),
    (OPERATOR, "POST", "/credential/templates"): ("reads", {}),
    (OPERATOR, "POST", "/egress/rules"): ("the list is read", {"action": "list"}),
    (OPERATOR, "POST", "/approval/list"): ("reads", {}),
    (OPERATOR, "POST", "/passkey/list"): ("reads", {}),
    (OPERATOR, "POST", "/passkey/enrol/begin"): ("a challenge in memory; its answer is recorded",
                                                 {"session": _HEX, "label": "a"}),
    (OPERATOR, "POST", "/passkey/sign-in/begin"): ("a challenge in memory; its answer is recorded", {}),
    (OPERATOR, "POST", "/passkey/approval/begin"): ("a challenge in memory; its answer is recorded", {"digest": _HEX}),
    (OPERATOR, "GET", "/status"): ("reads", None),
    (OPERATOR, "GET", "/key/status"): ("reads", None),
    (OPERATOR, "GET", "/audit/events"): ("reads", None),
    (GATEWAY, "POST", "/credential/list"): ("reads", {}),
    (GATEWAY, "GET", "/audit/events"): ("reads", None),
    (GATEWAY, "GET", "/audit/summary"): ("reads", "since=24h"),
    (GATEWAY, "GET", "/audit/checkpoint"): ("reads what was signed with each group", None),
    (GATEWAY, "GET", "/audit/proof/inclusion"): ("reads", "seq=0&size=1"),
    (GATEWAY, "GET", "/audit/proof/consistency"): ("reads", "old=1&new=2"),
    (GATEWAY, "GET", "/healthz"): ("reads", None),
}  # fmt: skip
"""What leaves no event, each with the reason, and the body (of GET: the query) that shows it."""


def probe_everything(_installation: Installation) -> list[Finding]:
    """L1 at a twin: each step leaves its event."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        findings = []
        for step in STEPS:
            before = len(twin.entries())
            use(twin, step)
            left = {entry.event for entry in twin.entries(before - 1)}
            tried = f"use {step.method} {step.route} of the {step.door}'s door"
            tried += f" ({step.what})" if step.what else ""
            findings.append(Finding(f"{tried} and leave no {step.event.value}",
                                    ", ".join(sorted(left)) or "no trace", held=step.event in left))  # fmt: skip
        return findings


def probe_link(installation: Installation) -> list[Finding]:
    """L1 on what runs here, with the one change that harms nothing: a link that nobody is given."""
    page = find_page(installation)
    with LedgerReader(installation.layout.ledger) as reader:
        before = max((entry.seq for entry in reader.newest(1)), default=-1)
        status, _ = page.ask("POST", "/api/auth/link", page.as_owner())
        left = [entry.event for entry in reader.after(before, 1000)]
    happened = f"status {status}; {', '.join(left) or 'no trace'}"
    return [Finding("make a link to the page that runs here and leave no trace",
                    happened, held=Event.AUTH_LINK_CREATED in left)]  # fmt: skip


def use(twin: Twin, step: Step) -> int:
    """The status of one step's answer."""
    target = step.route if step.target is None else step.target(twin)
    if step.door == GATEWAY:
        if step.method == "GET":
            return twin.forward(target).status
        return twin.gateway(step.method, target, step.body(twin), bearer=step.bearer).status
    return at_the_operators_door(twin, step.method, target, step.body(twin), step.bearer)


def at_the_operators_door(twin: Twin, method: str, path: str, body: Any, bearer: str | None = None) -> int:
    """The status of one answer of the operator's door, with its token unless another is given."""
    connection = http.client.HTTPConnection("operator", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_SECONDS)
    token = twin.layout.operator_token.read_text(encoding="ascii") if bearer is None else bearer
    headers = {"Content-Type": "application/json", "Connection": "close", "Authorization": f"Bearer {token}"}
    with closing(connection):
        connection.sock.connect(str(twin.layout.operator_socket))
        # An answer may leave before the body has come.
        with suppress(BrokenPipeError):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse().status
