"""Permits and digests."""

from __future__ import annotations

import hashlib

import pytest
import rfc8785

from mycelos.gateway.tools.permit import Permit, digest
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.problems import Refusal

RECEIPT = AppendReceipt(seq=0, leaf_hash="0" * 64, checkpoint=None)


def test_the_digest_is_over_the_canonical_form() -> None:
    assert digest({"b": 1, "a": "é"}) == hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()
    assert digest({"a": "é", "b": 1.0}) == digest({"b": 1, "a": "é"})


@pytest.mark.parametrize("args", [{"a": 2**60}, {"a": float("nan")}, {"a": "\ud800"}])
def test_what_has_no_canonical_form_has_no_digest(args: dict[str, object]) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        digest(args)


@pytest.mark.parametrize(("tool", "args"), [("a.c", {"x": 1}), ("a.b", {"x": 2}), ("a.b", {})])
def test_a_permit_is_for_one_call_once(tool: str, args: dict[str, object]) -> None:
    permit = Permit("run", "agent", "a.b", digest({"x": 1}), RECEIPT)
    with pytest.raises(Refusal, match="policy_denied"):
        permit.spend(tool, args)
    permit.spend("a.b", {"x": 1})
    with pytest.raises(Refusal, match="policy_denied"):
        permit.spend("a.b", {"x": 1})
