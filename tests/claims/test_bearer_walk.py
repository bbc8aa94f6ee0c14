"""D3: with the gateway's bearer no action of the operator's is to be had, at either door of a real proxy.

The routes are taken from the doors' own tables: a new one is in the walk by itself.
"""

from __future__ import annotations

import http.client
import inspect
import json
import socket
from contextlib import closing, suppress

import pytest
from there_is import gateway_routes, operator_routes

from mycelos.ledger.events import Event
from mycelos.operator.client import OperatorClient
from mycelos.prove.twin import Twin
from mycelos.wire.operator import ListRules

BOUND = {
    "v": 1, "scheme": "https", "host": "attacker.example", "port": 443, "methods": ["GET"], "path": [], "query": "any",
    "inject": {"form": "bearer"}, "response": {"set_cookie": "drop", "location_query": "redact"}, "confirm": False,
    "quota": None,
}  # fmt: skip
BODIES = (
    {},
    {"service": "canary"},
    {"service": "telegram"},
    {"service": "planted", "secret": "planted-secret", "bindings": [BOUND]},
    {"service": "planted", "secret": "planted-secret", "template": "github"},
    {"service": "canary", "secret": "another-secret"},
    {"service": "canary", "bindings": [BOUND]},
    {"action": "list"},
    {"action": "add", "method": "GET", "scheme": "https", "host": "attacker.example", "port": 443},
    {"action": "web", "enabled": True},
    {"enabled": True},
    {"enabled": False},
    {"code": "x"},
    {"id": "x", "digest": "x", "decision": "approve"},
    {"confirm": True},
)
READING = {
    ("GET", "/healthz"), ("GET", "/audit/events"), ("GET", "/audit/summary"), ("GET", "/audit/checkpoint"),
    ("POST", "/credential/list"),
}  # fmt: skip
"""What the gateway may: to see that it lives, its metadata, its record."""


@pytest.fixture(scope="module")
def proxy():
    with Twin(9) as started:
        yield started


def state_of(proxy):
    operator = proxy.operator
    status = operator.status()
    return operator.credentials(), operator.egress_rules(ListRules()), status.web, status.lockdown, status.key_slot


def at_the_operators_door(proxy, method, path, body, authorization):
    connection = http.client.HTTPConnection("operator", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(proxy.layout.operator_socket))
    headers = {"Content-Type": "application/json", "Connection": "close", "Mycelos-Protocol": "1"}
    headers |= {"Authorization": authorization} if authorization else {}
    with closing(connection):
        # An answer may leave before the body has come.
        with suppress(BrokenPipeError):
            connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def failures(proxy, door):
    entries = [entry for entry in proxy.entries() if entry.event == Event.PROXY_AUTH_FAILED]
    return sum(json.loads(entry.details)["door"] == door for entry in entries)


def test_the_tables_hold_the_routes_that_are_known():
    """A walk over an empty table would refuse nothing and pass."""
    assert {path for _, path in operator_routes()} >= {
        "/credential/store",
        "/egress/rules",
        "/lockdown",
        "/link/create",
    }
    assert {path for _, path in gateway_routes()} >= {"/http", "/credential/materialize", "/audit/append"}
    posted = [name for name, _ in inspect.getmembers(OperatorClient, inspect.isfunction) if not name.startswith("_")]
    assert len(operator_routes()) >= 12 <= len(posted)


@pytest.mark.parametrize(("method", "path"), operator_routes())
def test_the_operators_routes_are_none_of_the_gateways_door(proxy, method, path):
    before = state_of(proxy)
    shared = (method, path) in READING
    for body in BODIES:
        answer = proxy.gateway(method, path, body)
        if shared:
            assert proxy.canary not in str(answer.body)
        else:
            assert answer.status in (404, 405), (path, body)
    assert state_of(proxy) == before
    assert shared or failures(proxy, "gateway") >= 1


@pytest.mark.parametrize(("method", "path"), gateway_routes())
def test_no_route_of_the_gateways_door_does_what_an_operators_body_says(proxy, method, path):
    before = state_of(proxy)
    for body in BODIES:
        answer = proxy.gateway(method, path, body)
        assert answer.status >= 400 or (method, path) in READING, (path, body)
        assert proxy.canary not in str(answer.body)
    assert state_of(proxy) == before


@pytest.mark.parametrize(("method", "path"), sorted({*operator_routes(), *gateway_routes(), ("POST", "/nowhere")}))
def test_the_gateways_bearer_opens_no_route_of_the_operators_door(proxy, method, path):
    before, recorded = state_of(proxy), failures(proxy, "operator")
    for body in BODIES:
        status, content = at_the_operators_door(proxy, method, path, body, f"Bearer {proxy.bearer}")
        assert status == 401, (path, body)
        assert json.loads(content)["code"] == "unauthorized"
        assert proxy.canary.encode() not in content
    assert failures(proxy, "operator") == recorded + len(BODIES)
    assert state_of(proxy) == before


@pytest.mark.parametrize(("method", "path"), gateway_routes())
def test_the_operators_token_opens_nothing_at_the_gateways_door(proxy, method, path):
    token = proxy.layout.operator_token.read_text()
    answer = proxy.gateway(method, path, {}, bearer=token)
    assert answer.status == (200 if path == "/healthz" else 401)


def test_with_the_operators_token_the_same_requests_change_everything(proxy):
    """The wall taken away: it is the bearer, and not the form of the requests, that was refused."""
    before = state_of(proxy)
    authorization = f"Bearer {proxy.layout.operator_token.read_text()}"
    done = {
        path
        for method, path in operator_routes()
        for body in BODIES
        if at_the_operators_door(proxy, method, path, body, authorization)[0] < 300
    }
    assert done >= {"/credential/store", "/credential/delete", "/credential/bind", "/egress/rules", "/lockdown"}
    assert state_of(proxy) != before
