from dataclasses import replace
from typing import Any

import msgspec
import pytest
from egress_house import binding_for
from operator_requests import ask, bearer, refusal
from software_authenticator import SoftwareAuthenticator

from mycelos.proxy.egress.approval_check import Asked, State
from mycelos.proxy.egress.approvals import LIFETIME_SECONDS, Approvals
from mycelos.proxy.operator_door.approvals import forget_outdated, note_end
from mycelos.wire.approvals import DecideApproval
from mycelos.wire.operator import RotateCredential, StoreCredential
from mycelos.wire.passkeys import Registration
from mycelos.wire.problems import ProblemCode

ASKED = Asked(
    "github", "cred_1", 1, "POST", "https://a.example/{credential}/x", "url_path", (("accept", "*/*"),), b"hello",
    "run_1", "helper", "github.write.comment",
)  # fmt: skip


def decision(held: Any, word: str = "approve", **changes: Any) -> DecideApproval:
    return DecideApproval(**({"id": held.id, "digest": held.digest, "decision": word} | changes))


def test_what_waits_is_listed_as_it_will_be_sent(operator_system: Any) -> None:
    held = operator_system.approvals.hold(ASKED)
    raw = operator_system.approvals.hold(replace(ASKED, body=b"\xff"))
    empty = operator_system.approvals.hold(replace(ASKED, body=None))
    first, second, third = operator_system.client.approvals()
    assert (first.id, first.digest, first.expires_at) == (held.id, held.digest, held.expires_at)
    assert (first.method, first.url, first.inject_as) == ("POST", "https://a.example/{credential}/x", "url_path")
    assert (first.headers, first.body_text, first.body_base64) == ((("accept", "*/*"),), "hello", None)
    assert (first.run, first.agent, first.purpose) == ("run_1", "helper", "github.write.comment")
    assert (second.id, second.body_text, second.body_base64) == (raw.id, None, "/w==")
    assert (third.id, third.body_text, third.body_base64) == (empty.id, None, None)


@pytest.mark.parametrize(
    ("word", "state", "event"),
    [("approve", State.APPROVED, "confirm.granted"), ("refuse", State.REFUSED, "confirm.refused")],
)
def test_a_decision_is_on_record_around_its_effect_and_is_taken_once(
    operator_system: Any, word: str, state: State, event: str
) -> None:
    held = operator_system.approvals.hold(ASKED)
    operator_system.client.decide_approval(decision(held, word))
    assert operator_system.approvals.find(held.id).state is state
    intent, outcome = operator_system.events(event)
    assert (intent["phase"], outcome["phase"], outcome["outcome"]) == ("intent", "outcome", "ok")
    assert (intent["source"], intent["principal"], intent["subject"]) == ("operator", "operator", "github")
    assert intent["details"] == {
        "approval_id": held.id, "request_digest": held.digest, "expires_at": held.expires_at, "service": "github",
        "credential_id": "cred_1", "credential_version": 1, "method": "POST",
    }  # fmt: skip
    for other in ("approve", "refuse"):
        assert refusal(operator_system.client.decide_approval, decision(held, other)).code is ProblemCode.CONFLICT
    assert operator_system.approvals.find(held.id).state is state


def test_what_was_not_shown_cannot_be_decided(operator_system: Any) -> None:
    held = operator_system.approvals.hold(ASKED)
    decide = operator_system.client.decide_approval
    assert refusal(decide, decision(held, digest="0" * 64)).code is ProblemCode.CONFLICT
    unknown = "appr_01h2xcejqtf2nbrexx3vqjhp41"
    assert refusal(decide, decision(held, id=unknown)).code is ProblemCode.NOT_FOUND
    assert operator_system.approvals.waiting() == (held,)
    assert [entry["outcome"] for entry in operator_system.events("confirm.granted")] == ["", "refused", "", "refused"]
    headers = {"Authorization": bearer(operator_system)}
    status, problem, _ = ask(operator_system, "POST", "/approval/decide", {"id": held.id}, **headers)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_once_a_passkey_is_enrolled_an_approval_needs_its_signature_and_a_refusal_none(
    operator_system: Any,
) -> None:
    client, key = operator_system.client, SoftwareAuthenticator()
    first, second = (operator_system.approvals.hold(replace(ASKED, run=run)) for run in ("run_1", "run_2"))
    assert refusal(client.decide_approval, decision(first, assertion={"id": "x"})).code is ProblemCode.INVALID_REQUEST
    made = key.create(client.begin_enrolment("e" * 64, "laptop"))
    enrolled = client.finish_enrolment("e" * 64, msgspec.convert(made, Registration))
    assert "was not signed" in refusal(client.decide_approval, decision(first)).detail
    for_another = key.get(client.begin_approval(second.digest))
    assert refusal(client.decide_approval, decision(first, assertion=for_another)).code is ProblemCode.FORBIDDEN
    assert operator_system.approvals.waiting() == (first, second)
    signed = key.get(client.begin_approval(first.digest))
    client.decide_approval(decision(first, assertion=signed))
    assert operator_system.events("confirm.granted")[-1]["details"]["passkey_id"] == enrolled.id
    assert refusal(client.decide_approval, decision(first, assertion=signed)).code is ProblemCode.FORBIDDEN
    client.decide_approval(decision(second, decision="refuse"))
    assert operator_system.approvals.waiting() == ()


def test_the_one_who_judges_passkeys_decides_whether_a_decision_counts_and_is_named_on_record(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []

    async def judge(assertion: Any, digest: str) -> str:
        judged.append((assertion, digest))
        return "passkey_1"

    (route,) = [route for route in operator_system.door._app.routes if route.path == "/approval/decide"]
    monkeypatch.setattr(route.endpoint.__self__, "_judge_assertion", judge)
    held = operator_system.approvals.hold(ASKED)
    operator_system.client.decide_approval(decision(held, assertion={"id": "x"}))
    assert judged == [({"id": "x"}, held.digest)]
    assert operator_system.events("confirm.granted")[1]["details"]["passkey_id"] == "passkey_1"


def test_without_the_operator_s_token_nothing_is_shown_or_decided(operator_system: Any) -> None:
    held = operator_system.approvals.hold(ASKED)
    message = {"id": held.id, "digest": held.digest, "decision": "approve"}
    for path, body in (("/approval/list", {}), ("/approval/decide", message)):
        assert ask(operator_system, "POST", path, body)[0] == 401
    assert operator_system.approvals.waiting() == (held,)


def test_what_ends_undecided_is_on_record_with_the_reason(operator_system: Any) -> None:
    now = [0.0]
    approvals = Approvals(lambda: now[0])
    approvals.on_end = lambda held, why: note_end(operator_system.recorder, held, why)

    async def end() -> Any:
        held = approvals.hold(ASKED)
        now[0] = LIFETIME_SECONDS
        assert approvals.waiting() == ()
        return held

    held = operator_system.run(end())
    operator_system.client.create_link()
    (entry,) = operator_system.events("confirm.expired")
    assert (entry["source"], entry["reason"], entry["run"], entry["agent"]) == ("proxy", "time", "run_1", "helper")
    assert entry["details"]["approval_id"] == held.id


def test_a_change_ends_what_was_asked_for_another_version_and_a_lockdown_ends_all(operator_system: Any) -> None:
    approvals, vault, lockdown = operator_system.approvals, operator_system.vault, operator_system.lockdown
    binding = binding_for(8080, confirm=True)
    for service in ("github", "gitlab"):
        message = StoreCredential(service=service, secret=f"a-secret-of-{service}", bindings=(binding,))
        operator_system.client.store(message)
    held = {}
    for credential in vault.list():
        asked = replace(
            ASKED, service=credential.service, credential_id=credential.id, credential_version=credential.version
        )
        held[credential.service] = approvals.hold(asked)
    gone = approvals.hold(ASKED)
    forget_outdated(approvals, vault, lockdown)
    assert approvals.waiting() == (held["github"], held["gitlab"])
    assert approvals.find(gone.id).state is State.ENDED
    operator_system.client.rotate(RotateCredential(service="github", secret="another-secret-of-github"))
    forget_outdated(approvals, vault, lockdown)
    assert approvals.waiting() == (held["gitlab"],)
    operator_system.client.set_lockdown(enabled=True)
    forget_outdated(approvals, vault, lockdown)
    assert approvals.waiting() == ()
