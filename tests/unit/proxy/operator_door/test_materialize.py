from typing import Any

from operator_requests import ask, bearer, refusal, store

from mycelos.ledger.query import EventQuery


def test_arming_is_on_record_as_suspicious_with_its_end_and_without_the_secret(operator_system: Any) -> None:
    stored = store(operator_system, "telegram", template="telegram")
    armed = operator_system.client.arm("telegram")
    assert (armed.service, armed.credential_id, armed.seconds) == ("telegram", stored.id, 300)
    intent, outcome = operator_system.events("credential.armed")
    assert (intent["phase"], intent["source"], intent["subject"]) == ("intent", "operator", "telegram")
    assert outcome["outcome"] == "ok"
    told = {"credential_id": stored.id, "credential_version": 1, "expires_at": armed.expires_at}
    assert outcome["details"].items() >= told.items()
    assert len(operator_system.run(operator_system.recorder.events(EventQuery(suspicious=True)))) == 2


def test_what_cannot_be_armed_is_refused_by_name_and_on_record(operator_system: Any) -> None:
    store(operator_system)
    assert refusal(operator_system.client.arm, "github").code == "materialize_denied"
    missing = refusal(operator_system.client.arm, "telegram")
    assert (missing.code, "credential add telegram" in missing.next) == ("credential_unknown", True)
    outcomes = [entry["reason"] for entry in operator_system.events("credential.armed") if entry["outcome"]]
    assert outcomes == ["materialize_denied", "credential_unknown"]
    headers = {"Authorization": bearer(operator_system)}
    for body in ({}, {"service": "Tele gram"}, {"service": "telegram", "seconds": 9}, [], None):
        assert ask(operator_system, "POST", "/materialize/arm", body, **headers)[0] == 400
    assert ask(operator_system, "GET", "/materialize/arm", **headers)[0] == 405


def test_while_locked_down_nothing_is_armed(operator_system: Any) -> None:
    store(operator_system, "telegram", template="telegram")
    operator_system.client.set_lockdown(enabled=True)
    assert refusal(operator_system.client.arm, "telegram").code == "locked_down"
