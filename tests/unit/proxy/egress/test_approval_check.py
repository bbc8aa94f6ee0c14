from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import Any

import pytest
import rfc8785

from mycelos.proxy.egress.approval_check import (
    Asked,
    DecidedError,
    Held,
    MisusedError,
    State,
    UnapprovedError,
    WaitingError,
    judge,
)
from mycelos.wire.problems import PendingApproval, ProblemCode, Refusal

ASKED = Asked(
    service="github",
    credential_id="cred_1",
    credential_version=3,
    method="POST",
    url="https://api.example/repos/a/issues",
    inject_as="bearer",
    headers=(("accept", "text/plain"), ("user-agent", "mycelos")),
    body=b'{"body":"hello"}',
    run="run_1",
    agent="helper",
    purpose="github.write.comment",
)
NONCE, EXPIRES = "0" * 32, "2026-01-01T00:15:00Z"
OTHERS: dict[str, Any] = {
    "credential_id": "cred_2",
    "credential_version": 4,
    "method": "PUT",
    "url": "https://api.example/repos/a/issues?",
    "headers": (("user-agent", "mycelos"), ("accept", "text/plain")),
    "body": b'{"body":"hellp"}',
    "run": "run_2",
    "agent": "other",
    "purpose": "",
}


def held(state: State, asked: Asked = ASKED) -> Held:
    digest = asked.digest(NONCE, EXPIRES)
    is_open = state in {State.WAITING, State.APPROVED}
    return Held("appr_1", digest, NONCE, "", EXPIRES, 0.0, asked.asker, asked if is_open else None, state)


def test_the_digest_is_that_of_the_contract() -> None:
    headers = rfc8785.dumps([["accept", "text/plain"], ["user-agent", "mycelos"]])
    form = rfc8785.dumps(
        {
            "credential_id": "cred_1",
            "credential_version": 3,
            "method": "POST",
            "url": "https://api.example/repos/a/issues",
            "headers_sha256": hashlib.sha256(headers).hexdigest(),
            "body_sha256": hashlib.sha256(b'{"body":"hello"}').hexdigest(),
            "nonce": NONCE,
            "expires_at": EXPIRES,
        }
    )
    expected = hashlib.sha256(b"mycelos/approval/1" + form).hexdigest()
    assert ASKED.digest(NONCE, EXPIRES) == expected
    # A golden vector: a change here is a change of the contract.
    assert expected == "468ffc3b88dc01d8b80fdd74acd219e56f8861802cc7cb54690871cc05d30bfe"


def test_nothing_that_is_sent_can_differ_under_one_digest() -> None:
    digests = {ASKED.digest(NONCE, EXPIRES), ASKED.digest("1" * 32, EXPIRES), ASKED.digest(NONCE, "later")}
    covered = [name for name in OTHERS if name not in {"run", "agent", "purpose"}]
    digests |= {replace(ASKED, **{name: OTHERS[name]}).digest(NONCE, EXPIRES) for name in covered}
    digests |= {replace(ASKED, body=body).digest(NONCE, EXPIRES) for body in (b"", None)}
    assert len(digests) == 3 + len(covered) + 2


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("state", State)
def test_an_approval_of_another_request_or_asker_is_refused_in_every_state(name: str, state: State) -> None:
    with pytest.raises(MisusedError) as caught:
        judge(held(state), replace(ASKED, **{name: OTHERS[name]}), is_on_its_way=state is State.SENT)
    assert caught.value.fields == ("approval_of_another",)
    if state is State.APPROVED:
        assert name.replace("_", " ") in caught.value.problem.detail


def test_the_fields_that_decide_nothing_are_named_here() -> None:
    """The service has the credential's id, the form follows from credential, version and URL."""
    assert {field.name for field in fields(Asked)} - set(OTHERS) == {"service", "inject_as"}


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        (State.WAITING, WaitingError, ProblemCode.APPROVAL_REQUIRED),
        (State.SENT, MisusedError, ProblemCode.APPROVAL_REQUIRED),
        (State.REFUSED, DecidedError, ProblemCode.FORBIDDEN),
        (State.ENDED, DecidedError, ProblemCode.APPROVAL_REQUIRED),
    ],
)
def test_what_is_not_approved_does_not_go(state: State, error: type[Refusal], code: ProblemCode) -> None:
    with pytest.raises(error) as caught:
        judge(held(state), ASKED, is_on_its_way=False)
    assert caught.value.problem.code is code
    expected = PendingApproval(id="appr_1", expires_at=EXPIRES) if state is State.WAITING else None
    assert caught.value.problem.approval == expected


def test_what_is_approved_goes_and_what_was_sent_goes_on() -> None:
    assert judge(held(State.APPROVED), ASKED, is_on_its_way=False).id == "appr_1"
    assert judge(held(State.SENT), ASKED, is_on_its_way=True).id == "appr_1"
    for state in set(State) - {State.SENT}:
        with pytest.raises(Refusal):
            judge(held(state), ASKED, is_on_its_way=True)


def test_an_id_that_is_not_known_is_no_approval() -> None:
    with pytest.raises(UnapprovedError) as caught:
        judge(None, ASKED, is_on_its_way=False)
    assert caught.value.asked is ASKED
