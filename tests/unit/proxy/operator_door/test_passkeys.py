import json
from typing import Any

import msgspec
from operator_requests import ask, bearer, refusal
from software_authenticator import SoftwareAuthenticator, encode

from mycelos.ledger.query import EventQuery
from mycelos.wire.passkeys import Assertion, Registration
from mycelos.wire.problems import ProblemCode

SESSION = "c" * 64


def enrol(operator_system: Any, key: SoftwareAuthenticator, label: str = "laptop") -> Any:
    made = key.create(operator_system.client.begin_enrolment(SESSION, label))
    return operator_system.client.finish_enrolment(SESSION, msgspec.convert(made, Registration))


def assertion(operator_system: Any, key: SoftwareAuthenticator, **wrong: Any) -> Assertion:
    return msgspec.convert(key.get(operator_system.client.begin_passkey_sign_in(), **wrong), Assertion)


def test_a_passkey_is_enrolled_used_listed_and_removed_and_each_step_is_on_record(operator_system: Any) -> None:
    client, key = operator_system.client, SoftwareAuthenticator()
    enrolled = enrol(operator_system, key)
    assert client.status().passkeys == (enrolled.id,)
    assert client.finish_passkey_sign_in(assertion(operator_system, key)).id == enrolled.id
    (listed,) = client.passkeys()
    assert (listed.label, listed.last_used_at is None) == ("laptop", False)
    client.remove_passkey(enrolled.id)
    assert (client.passkeys(), client.status().passkeys) == ((), ())
    intent, outcome = operator_system.events("operator.passkey_enrolled")
    assert (intent["phase"], outcome["phase"], outcome["outcome"]) == ("intent", "outcome", "ok")
    assert outcome["details"] | {"passkey_id": enrolled.id, "label": "laptop"} == outcome["details"]
    # The keys are part of what the vault's state says.
    assert outcome["details"]["vault_generation"] > 0
    (login,) = operator_system.events("operator.login")
    assert login["details"] == {"method": "passkey", "passkey_id": enrolled.id, "label": "laptop"}
    assert operator_system.events("operator.passkey_removed")[0]["subject"] == enrolled.id


def test_a_refused_passkey_is_on_record_with_its_fault_and_as_suspicious(operator_system: Any) -> None:
    client, key = operator_system.client, SoftwareAuthenticator()
    enrol(operator_system, key)
    wrong = assertion(operator_system, key, origin="http://localhost:9100")
    assert refusal(client.finish_passkey_sign_in, wrong).code is ProblemCode.FORBIDDEN
    (entry,) = operator_system.events("operator.login_failed")
    assert entry["details"] == {"method": "passkey", "code": "origin"}
    made = msgspec.convert(key.create(client.begin_enrolment(SESSION, "again")), Registration)
    assert refusal(client.finish_enrolment, "d" * 64, made).detail == "This passkey was asked for by another session"
    assert operator_system.events("operator.passkey_enrolled")[-1]["outcome"] == "refused"


def test_a_request_that_waits_is_signed_by_its_digest(operator_system: Any) -> None:
    client, key = operator_system.client, SoftwareAuthenticator()
    enrolled = enrol(operator_system, key)
    signed = key.get(client.begin_approval("1f" * 32))
    assert operator_system.run(operator_system.passkeys.approve(signed, "1f" * 32)).id == enrolled.id


def test_bad_input_names_its_field(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    good = {"session": SESSION, "label": "laptop"}
    for path, body, word in (
        ("/passkey/enrol/begin", {**good, "label": " "}, "label"),
        ("/passkey/enrol/begin", {**good, "label": "a\u202eb"}, "label"),
        ("/passkey/enrol/begin", {**good, "session": "x"}, "session"),
        ("/passkey/enrol/begin", {**good, "more": 1}, "more"),
        ("/passkey/enrol/finish", {"session": SESSION, "registration": {"id": "!"}}, "registration"),
        ("/passkey/sign-in/finish", {"assertion": {"id": "eA", "type": "password"}}, "assertion"),
        ("/passkey/approval/begin", {"digest": "1F" * 32}, "digest"),
        ("/passkey/remove", {"id": "cred_x"}, "id"),
    ):
        status, problem, _ = ask(operator_system, "POST", path, body, **headers)
        assert (status, word in problem["detail"]) == (400, True), (path, problem)


def test_no_answer_and_no_entry_holds_a_challenge_that_is_good(operator_system: Any) -> None:
    client, key = operator_system.client, SoftwareAuthenticator()
    enrol(operator_system, key)
    options = client.begin_passkey_sign_in()
    assert options["allowCredentials"] == []
    client.finish_passkey_sign_in(msgspec.convert(key.get(options), Assertion))
    entries = operator_system.run(operator_system.recorder.events(EventQuery(limit=1000)))
    written = json.dumps([entry.as_dict() for entry in entries])
    for value in (options["challenge"], encode(key.credential_id)):
        assert value not in written
