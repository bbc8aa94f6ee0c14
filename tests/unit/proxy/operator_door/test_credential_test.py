from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from egress_house import Upstream, answer, binding_for, serve
from operator_requests import SECRET, ask, bearer, refusal

from mycelos.proxy.operator_door.credential_test import _chosen
from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire.binding import Method
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import ProblemCode


def store(operator_system: Any, port: int, **changes: Any) -> None:
    operator_system.client.store(
        StoreCredential(service="example", secret=SECRET, bindings=(binding_for(port, **changes),))
    )


def upstream(operator_system: Any, reply: bytes) -> tuple[AbstractAsyncContextManager[Upstream], Upstream]:
    serving = serve(reply)
    return serving, operator_system.run(serving.__aenter__())


def stop(operator_system: Any, serving: Any) -> None:
    operator_system.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize("status", [200, 401])
def test_the_status_is_told_and_nothing_else_of_the_answer(operator_system: Any, status: int) -> None:
    serving, host = upstream(operator_system, answer(b"a body that nobody asked for", b"%d Said" % status))
    operator_system.open_ports(host.port)
    store(operator_system, host.port)
    tested = operator_system.client.test("example", "/v1/me?full=1")
    stop(operator_system, serving)
    assert (tested.status, tested.refused) == (status, None)
    assert tested.url == f"http://127.0.0.1:{host.port}/v1/me?full=1"
    (head,) = host.heads
    assert head.startswith(b"GET /v1/me?full=1 HTTP/1.1\r\n")
    assert b"Bearer " + SECRET.encode() in head
    # The outcome is queued: what is written after it says that it is there.
    operator_system.client.create_link()
    intent, outcome = operator_system.events("proxy.http_request")
    assert (intent["details"]["purpose"], intent["details"]["door"]) == ("credential test", "operator")
    assert (outcome["outcome"], outcome["details"]["status"]) == ("ok", status)


def test_what_no_binding_allows_is_refused_and_on_record_as_for_everybody(operator_system: Any) -> None:
    store(operator_system, 8443, path=("v1",))
    operator_system.open_ports(8443)
    tested = operator_system.client.test("example", "/v2/me")
    assert tested.refused.code is ProblemCode.BINDING_VIOLATION
    assert len(operator_system.events("proxy.binding_violation")) == 1
    # The guard stands too, once nothing opens this port.
    operator_system.open_ports()
    assert operator_system.client.test("example", "/v1/me").refused.code is ProblemCode.SSRF_BLOCKED
    operator_system.client.set_lockdown(enabled=True)
    assert operator_system.client.test("example", "/v1/me").refused.code is ProblemCode.LOCKED_DOWN


def test_where_a_person_confirms_each_use_a_test_says_so_and_asks_nobody(operator_system: Any) -> None:
    store(operator_system, 8443, confirm=True)
    assert operator_system.client.test("example", "/x").refused.code is ProblemCode.APPROVAL_REQUIRED
    assert operator_system.client.approvals() == ()


def test_without_a_template_a_path_is_asked_for_and_errors_name_their_field(operator_system: Any) -> None:
    store(operator_system, 8443)
    assert refusal(operator_system.client.test, "example").detail.startswith("path: no template")
    assert refusal(operator_system.client.test, "none").code is ProblemCode.NOT_FOUND
    headers = {"Authorization": bearer(operator_system)}
    for body, word in (
        ({"service": "example", "path": "v1"}, "path"), ({"service": "example", "path": "/a b"}, "path"),
        ({"service": "example", "path": "/é"}, "path"), ({"service": "Not"}, "service"),
        ({"service": "a", "more": 1}, "more"),
    ):  # fmt: skip
        status, problem, _ = ask(operator_system, "POST", "/credential/test", body, **headers)
        assert (status, word in problem["detail"]) == (400, True)


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"openrouter"}))
def test_a_credential_from_a_template_is_tested_with_what_it_says(name: str) -> None:
    template = TEMPLATES[name]
    binding, check = _chosen(template.bindings, None)
    assert check == template.check
    assert Method.GET in binding.methods


def test_a_path_goes_to_the_binding_that_covers_it() -> None:
    bindings = (binding_for(1, path=("a",)), binding_for(2, path=("b",)), binding_for(3, methods=(Method.POST,)))
    assert _chosen(bindings, "/b/c?x=1")[0].port == 2
    assert _chosen(bindings, "/c")[0].port == 1
