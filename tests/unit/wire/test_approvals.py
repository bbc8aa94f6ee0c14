"""The messages about requests that wait for a person."""

from __future__ import annotations

import json

import msgspec
import pytest

from mycelos.wire.approvals import ApprovalList, DecideApproval
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal

ID = "appr_01h2xcejqtf2nbrexx3vqjhp41"
DECISION = {"id": ID, "digest": "0" * 64, "decision": "approve", "assertion": None}
VIEW = {
    "id": ID,
    "digest": "0" * 64,
    "service": "github",
    "credential_version": 1,
    "method": "POST",
    "url": "https://api.example/{credential}/comments",
    "inject_as": "url_path",
    "headers": [["accept", "text/plain"]],
    "body_text": "hello",
    "body_base64": None,
    "agent": "helper",
    "run": "run_1",
    "purpose": "github.write.comment",
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T00:15:00Z",
}


def test_a_list_says_each_request_in_the_order_of_its_headers() -> None:
    text = json.dumps({"approvals": [VIEW]})
    found = decode_json(text, ApprovalList, "answer").approvals[0]

    assert found.headers == (("accept", "text/plain"),)
    assert msgspec.to_builtins(found) == VIEW | {"headers": (("accept", "text/plain"),)}


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_a_decision_has_two_words(decision: str) -> None:
    assert decode_json(json.dumps(DECISION | {"decision": decision}), DecideApproval, "request").decision == decision


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"decision": "approved"}, "decision"),
        ({"decision": True}, "decision"),
        ({"digest": "0" * 63}, "digest"),
        ({"digest": "0" * 64 + "\n"}, "digest"),
        ({"digest": "A" * 64}, "digest"),
        ({"id": "run_01h2xcejqtf2nbrexx3vqjhp41"}, "id"),
        ({"id": ""}, "id"),
        ({"assertion": "yes"}, "assertion"),
        ({"all": True}, "all"),
    ],
)
def test_a_decision_of_another_form_is_refused_and_the_field_is_named(changed: dict[str, object], named: str) -> None:
    with pytest.raises(Refusal) as caught:
        decode_json(json.dumps(DECISION | changed), DecideApproval, "request")

    assert named in caught.value.problem.detail
