import functools
from typing import Any

from operator_requests import ask, refusal, store

from mycelos.wire.operator import SetWeb
from mycelos.wire.problems import ProblemCode


def test_status_tells_what_the_proxy_is(operator_system: Any) -> None:
    store(operator_system)
    status = operator_system.client.status()
    assert (status.credentials, status.damaged, status.egress_rules) == (1, 0, 0)
    assert status.key_slot == operator_system.vault.keys.kid


def test_events_are_read_with_the_filters_of_the_command_line(operator_system: Any) -> None:
    store(operator_system)
    ask(operator_system, "GET", "/status")
    suspicious = operator_system.client.audit_events(suspicious="true")
    assert [entry["event"] for entry in suspicious] == ["proxy.auth_failed"]
    stored = operator_system.client.audit_events(event="credential.stored", limit="1")
    assert len(stored) == 1
    for query in ({"limit": "x"}, {"after": "-2"}, {"limit": "9" * 40}, {"since": "zzz"}, {"sinse": "1h"}):
        assert (
            refusal(functools.partial(operator_system.client.audit_events, **query)).code is ProblemCode.INVALID_REQUEST
        )


def test_the_question_of_web_stands_in_the_status_until_it_is_answered(operator_system: Any) -> None:
    client = operator_system.client
    assert client.status().web == "unanswered"
    client.egress_rules(SetWeb(enabled=False))
    assert client.status().web == "off"
    client.egress_rules(SetWeb(enabled=True))
    assert client.status().web == "on"
