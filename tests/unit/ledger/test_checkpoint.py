from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from ledger_vectors import published

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_text
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.vault.signing import verifies

ORIGIN = "mycelos.example/log"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
HEAD = Checkpoint(ORIGIN, 12, bytes(range(32)))
NOTE = str(HEAD.signed([(KEY, PRIVATE.sign)])).encode()


def test_a_checkpoint_is_read_as_it_was_signed():
    assert open_checkpoint(NOTE, ORIGIN, [KEY], verifies) == HEAD
    assert parse_text(HEAD.text()) == HEAD


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 7))
def test_one_bit_changed_is_noticed(place, bit):
    changed = bytearray(NOTE)
    changed[place] ^= 1 << bit
    with pytest.raises(CheckpointError):
        open_checkpoint(bytes(changed), ORIGIN, [KEY], verifies)


def test_a_checkpoint_of_another_log_or_of_nobody_is_refused():
    with pytest.raises(CheckpointError, match="another log"):
        open_checkpoint(NOTE, "mycelos.example/other", [KEY], verifies)
    with pytest.raises(CheckpointError, match="no trusted key"):
        open_checkpoint(NOTE, ORIGIN, [], verifies)


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "a\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n01\n{ROOT}\n", f"a\n-1\n{ROOT}\n", f"a\n1 \n{ROOT}\n",
        f"a\n\u0661\n{ROOT}\n", f"a\n{2**53}\n{ROOT}\n", f"a\n{10**30}\n{ROOT}\n", f"a\n1\n{ROOT}\nmore\n",
        f"a\n1\n{ROOT}\n\n", f"a\n1\n{ROOT[:-4]}\n", f"a\n1\n{ROOT}AAAA\n", f"a\n1\n {ROOT}\n",
        f"a\n1\n{ROOT[:-2]}F=\n",
    ],
)  # fmt: skip
def test_what_is_not_a_checkpoint_is_refused(text):
    with pytest.raises(CheckpointError):
        parse_text(text)


def test_published_texts_are_judged_strictly():
    for case in published("note/checkpoint_body.jsonl"):
        verdict = "ok"
        try:
            parse_text(case["body"])
        except CheckpointError:
            verdict = "error"
        assert verdict == case["expect_strict"], case["name"]
