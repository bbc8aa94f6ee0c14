from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError
from mycelos.ledger.inclusion import FORMAT, PATH_LIMIT, InclusionProof, parse_proof
from mycelos.ledger.merkle import Frontier, ProofError, inclusion_proof
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.vault.signing import verifies

ORIGIN = "mycelos.example/log"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
LEAVES = [hashlib.sha256(b"\x00" + bytes([number])).digest() for number in range(21)]
NODES: dict[tuple[int, int], bytes] = {}
FRONTIER = Frontier()
for leaf in LEAVES:
    NODES |= {(level, place): found for level, place, found in FRONTIER.append(leaf)}
NOTE = str(Checkpoint(ORIGIN, 21, FRONTIER.root()).signed([(KEY, PRIVATE.sign)])).encode()


def proof_of(index: int) -> InclusionProof:
    path = inclusion_proof(index, 21, lambda level, place: NODES[level, place])
    return InclusionProof(index, tuple(path), NOTE)


def test_a_proof_is_read_as_it_was_written_and_shows_its_entry():
    for index, leaf in enumerate(LEAVES):
        proof = proof_of(index)
        assert parse_proof(bytes(proof)) == proof
        assert proof.verify(leaf, ORIGIN, [KEY], verifies).size == 21
        with pytest.raises(ProofError):
            proof.verify(LEAVES[index - 1], ORIGIN, [KEY], verifies)


def test_a_proof_of_a_checkpoint_that_nobody_signed_shows_nothing():
    with pytest.raises(CheckpointError):
        proof_of(3).verify(LEAVES[3], ORIGIN, [], verifies)


@given(st.integers(0, len(bytes(proof_of(3))) - 1), st.integers(0, 7))
def test_one_bit_of_a_proof_changed_is_noticed(place, bit):
    changed = bytearray(bytes(proof_of(3)))
    changed[place] ^= 1 << bit
    with pytest.raises((ProofError, CheckpointError)):
        parse_proof(bytes(changed)).verify(LEAVES[3], ORIGIN, [KEY], verifies)


@pytest.mark.parametrize("extra", [b"", b"x", b"what somebody else added"])
def test_what_others_add_is_read_and_says_nothing(extra):
    proof = dataclasses.replace(proof_of(3), extra=extra)
    assert parse_proof(bytes(proof)) == proof
    assert proof.verify(LEAVES[3], ORIGIN, [KEY], verifies).size == 21


def test_a_proof_is_as_the_golden_file_has_it():
    """Seven leaves as in RFC 6962, section 2.1.3, and the first key of RFC 8032, section 7.1."""
    golden = json.loads((Path(__file__).parents[2] / "vectors" / "ledger" / "proof-v1.json").read_text())
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(golden["seed"]))
    key = VerifierKey(golden["origin"], private.public_key().public_bytes_raw())
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(body)).digest() for body in golden["bodies"]]
    nodes, tree = {}, Frontier()
    for leaf in leaves:
        nodes |= {(level, place): found for level, place, found in tree.append(leaf)}
    note = str(Checkpoint(key.name, 7, tree.root()).signed([(key, private.sign)]))
    assert (str(key), note) == (golden["vkey"], golden["checkpoint"])
    for index, text in enumerate(golden["proofs"]):
        path = inclusion_proof(index, 7, lambda level, place: nodes[level, place])
        assert bytes(InclusionProof(index, tuple(path), note.encode())).decode() == text
        assert parse_proof(text.encode()).verify(leaves[index], key.name, [key], verifies).size == 7


LINE = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", f"{FORMAT}\n\n", f"{FORMAT}\nindex\n\nx", f"{FORMAT}\nindex 01\n\nx", f"{FORMAT}\nindex -1\n\nx",
        f"{FORMAT}\nextra AAAA\n\nx", f"{FORMAT}\nextra AAA\nindex 0\n\nx", f"{FORMAT}\nextra AAB=\nindex 0\n\nx",
        f"{FORMAT}\nextra AAAA\nextra AAAA\nindex 0\n\nx", f"{FORMAT}\nindex 0\nextra AAAA\n\nx",
        f"{FORMAT}\nextra\nindex 0\n\nx", f"{FORMAT}\nindex 0\nAAAA\n\nx", f"{FORMAT}\nindex 0\n{LINE}",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nx", f"{FORMAT}\nindex 0\n{LINE * (PATH_LIMIT + 1)}\nx",
        f"{FORMAT}\nindex 0\n{LINE[:-3]}B=\n\nx", f"{FORMAT}\nindex 0\n{'é' * 10}\n\nx",
    ],
)  # fmt: skip
def test_what_is_not_a_proof_is_refused(text):
    with pytest.raises(ProofError):
        parse_proof(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_a_refusal(data):
    with contextlib.suppress(ProofError):
        assert bytes(parse_proof(FORMAT.encode() + b"\nindex " + data)).endswith(data[-1:])
