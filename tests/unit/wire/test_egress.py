from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mycelos.wire import egress
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "egress-v1.json").read_text())
CALL = json.loads(VECTOR["call"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("call", egress.HttpCall), ("answer", egress.HttpAnswer), ("summary", egress.CredentialSummary)],
)
def test_the_golden_messages_are_read_and_written_back_as_the_same_bytes(name: str, kind: type[msgspec.Struct]) -> None:
    message = decode_json(VECTOR[name], kind, name)
    assert msgspec.json.encode(message).decode() == VECTOR[name]


def test_the_names_that_travel_in_headers_stand() -> None:
    assert (egress.PROTOCOL_HEADER, egress.PROTOCOL_VERSION) == (VECTOR["header"], VECTOR["protocol"])
    assert egress.CREDENTIAL_PLACEHOLDER == VECTOR["placeholder"]
    assert [
        egress.FORWARD_CREDENTIAL,
        egress.FORWARD_INJECT_AS,
        egress.FORWARD_RUN,
        egress.FORWARD_AGENT,
        egress.FORWARD_PURPOSE,
        egress.FORWARD_APPROVAL,
    ] == VECTOR["forward_headers"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeout": 0}, "call.timeout"),
        ({"timeout": 601}, "call.timeout"),
        ({"url": "x" * 8193}, "call.url"),
        ({"purpose": "x" * 257}, "call.purpose"),
        ({"headers": ["a"]}, "call.headers"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_call_outside_the_limits_is_refused_with_the_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(Refusal) as caught:
        decode_json(json.dumps({**CALL, **change}), egress.HttpCall, "call")
    assert field in caught.value.problem.detail


def test_a_credentials_summary_has_no_field_for_the_secret_or_anything_made_from_it() -> None:
    names = {field.name for field in msgspec.structs.fields(egress.CredentialSummary)}
    assert names == {"service", "label", "created_at", "bindings", "last_used_at"}
