"""A hijacked gateway floods a real proxy over many connections: the operator's revocation is not behind it."""

from __future__ import annotations

import json
import os

import pytest

from mycelos.ledger.entry import Phase
from mycelos.ledger.events import Event
from mycelos.prove.twin import SERVICE, Twin
from mycelos.wire.problems import ProblemCode, Refusal

CONNECTIONS = 64
EACH = 100
"""Requests that wait on each connection: more than a second's work in all."""
LARGE = {"event": "policy.changed", "details": {"changed": ["x" * 1024] * 60}}


def set_limits(twin: Twin, **limits: int) -> None:
    twin.layout.operator_file.touch(mode=0o600)
    lines = ["[ledger]", *(f"{name} = {value}" for name, value in limits.items())]
    twin.layout.operator_file.write_text("\n".join(lines))


def request(twin: Twin, path: str, message: object) -> bytes:
    body = json.dumps(message).encode()
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {twin.bearer}", "Mycelos-Protocol: 1")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


@pytest.mark.parametrize(
    ("path", "message", "event"),
    [
        ("/audit/append", {"event": "tool.called", "details": {"tool": "a.b"}}, Event.TOOL_CALLED),
        ("/http", {"method": "GET", "url": "https://evil.example/"}, Event.PROXY_BINDING_VIOLATION),
    ],
    ids=["claims", "refused requests"],
)
def test_a_revocation_is_done_while_thousands_of_the_gateway_s_requests_still_wait(
    path: str, message: object, event: Event
) -> None:
    with Twin(9) as twin:
        connections = [twin._connect() for _ in range(CONNECTIONS)]
        try:
            for connection in connections:
                connection.sendall(request(twin, path, message) * EACH)
            twin.operator.delete(SERVICE)
            done = len(twin.entries())
            # Each connection has its first answer, so what the flood wrote before is not all of it.
            for connection in connections:
                assert connection.recv(65536).startswith(b"HTTP/1.1 ")
            entries = twin.entries()
        finally:
            for connection in connections:
                connection.close()
        deleted = [entry for entry in entries[:done] if entry.event == Event.CREDENTIAL_DELETED]
        assert [(entry.phase, entry.outcome) for entry in deleted] == [(Phase.INTENT, ""), (Phase.OUTCOME, "ok")]
        assert sum(entry.event == event for entry in entries[:done]) < CONNECTIONS * EACH
        assert twin.operator.credentials().credentials == ()


def test_a_flood_ends_at_its_limit_and_is_told_once_and_a_revocation_is_not_limited() -> None:
    twin = Twin(9)
    set_limits(twin, burst_bytes=1024 * 1024, bytes_per_second=1)
    with twin:
        answers = [twin.gateway("POST", "/audit/append", LARGE) for _ in range(24)]
        codes = [answer.code for answer in answers]
        taken = codes.index("rate_limited")
        assert 0 < taken < 20
        assert set(codes[taken:]) == {"rate_limited"}
        # What its requests put on record has a limit of its own.
        assert twin.use("https://evil.example/", with_credential=False).code == "egress_not_allowed"
        # So has a sign-in at the vault page that failed.
        with pytest.raises(Refusal) as guessed:
            twin.operator.redeem_link("guessed")
        assert guessed.value.problem.code is ProblemCode.FORBIDDEN
        twin.operator.delete(SERVICE)
        entries = twin.entries()
    assert [entry.outcome for entry in entries if entry.event == Event.OPERATOR_LOGIN_FAILED] == ["refused"]
    told = [entry for entry in entries if entry.event == Event.LEDGER_LIMITED]
    assert [(entry.subject, json.loads(entry.details)) for entry in told] == [
        ("gateway", {"code": "rate_limited", "count": 1})
    ]
    assert sum(entry.event == Event.POLICY_CHANGED for entry in entries) == taken
    assert (entries[-1].event, entries[-1].outcome) == (Event.CREDENTIAL_DELETED, "ok")


def test_guessing_ends_at_its_limit_and_whoever_has_a_good_link_still_signs_in() -> None:
    def guess(twin: Twin) -> ProblemCode:
        with pytest.raises(Refusal) as refused:
            twin.operator.redeem_link("guessed")
        return refused.value.problem.code

    with Twin(9) as twin:
        link = twin.operator.create_link()
        codes = [guess(twin) for _ in range(400)]
        taken = codes.count(ProblemCode.FORBIDDEN)
        assert set(codes[taken:]) <= {ProblemCode.RATE_LIMITED, ProblemCode.FORBIDDEN}
        assert 20 < taken < 300
        twin.operator.redeem_link(link.code)
        assert twin.gateway("POST", "/audit/append", {"event": "run.started"}).status == 200
        entries = twin.entries()
    assert sum(entry.event == Event.OPERATOR_LOGIN_FAILED for entry in entries) == taken
    assert any(entry.event == Event.OPERATOR_LOGIN for entry in entries)
    (told, *_) = [entry for entry in entries if entry.event == Event.LEDGER_LIMITED]
    assert told.subject == "operator"


def test_without_the_limit_all_of_it_is_written() -> None:
    with Twin(9) as twin:
        answers = [twin.gateway("POST", "/audit/append", LARGE) for _ in range(24)]
        assert {answer.status for answer in answers} == {200}


def test_on_a_disk_with_less_than_the_reserve_the_gateway_is_refused_and_the_operator_is_not() -> None:
    twin = Twin(9)
    space = os.statvfs(twin.folder)
    set_limits(twin, reserve_bytes=2 * space.f_bavail * space.f_frsize)
    with twin:
        for _ in range(2):
            assert twin.gateway("POST", "/audit/append", {"event": "run.started"}).code == "audit_unavailable"
            assert twin.use("http://127.0.0.1:9/bound").code == "audit_unavailable"
        assert twin.gateway("GET", "/audit/events").status == 200
        twin.operator.delete(SERVICE)
        assert twin.operator.set_lockdown(enabled=True).shortcomings == ()
        entries = twin.entries()
    told = [entry for entry in entries if entry.event == Event.LEDGER_LIMITED]
    assert [json.loads(entry.details) for entry in told] == [{"code": "audit_unavailable", "count": 1}]
    assert not any(entry.source == "gateway" or entry.event == Event.PROXY_HTTP_REQUEST for entry in entries)
    outcomes = [(entry.event, entry.outcome) for entry in entries if entry.phase == Phase.OUTCOME]
    assert outcomes[-2:] == [(Event.CREDENTIAL_DELETED, "ok"), (Event.LOCKDOWN_SET, "ok")]
