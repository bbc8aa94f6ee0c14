"""Our checkpoints, notes and proofs before the package ``aics-tlog``, and its own before ours. For Python 3.12 on."""

from __future__ import annotations

import hashlib

import aics_tlog
import pytest
from signed_log import grown, private_key

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from mycelos.ledger.cosignature import CosignerKey, cosign, cosigned_by, with_lines
from mycelos.ledger.entry import body
from mycelos.ledger.inclusion import InclusionProof, parse_proof
from mycelos.ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from mycelos.ledger.signed_note import VerifierKey, parse_note
from mycelos.ledger.verify import RememberedNote, Verdict, verify
from mycelos.proxy.vault.signing import verifies

LOG = grown(11, 21)
BODIES = [body(entry) for entry in LOG.entries]
THEIR_TREE = aics_tlog.MerkleTree(BODIES)
THEIR_KEY = aics_tlog.parse_vkey(str(LOG.vkey()))
NODES: dict[tuple[int, int], bytes] = {}
FRONTIER = Frontier()
for entry in LOG.entries:
    NODES |= {(level, place): found for level, place, found in FRONTIER.append(bytes.fromhex(entry.leaf_hash))}


def node(level: int, place: int) -> bytes:
    return NODES[level, place]


def test_both_compute_the_same_root_over_the_bodies_of_the_entries():
    for size in range(LOG.size + 1):
        assert THEIR_TREE.root(size) == root_of(size, node)


def test_both_show_an_entry_by_the_same_path():
    for size in range(1, LOG.size + 1):
        root = THEIR_TREE.root(size)
        for index in range(size):
            ours, theirs = inclusion_proof(index, size, node), THEIR_TREE.inclusion_proof(index, size)
            assert ours == theirs
            assert aics_tlog.verify_leaf_inclusion(BODIES[index], index, size, ours, root)
            verify_inclusion(aics_tlog.leaf_hash(BODIES[index]), index, size, theirs, root)
            assert not aics_tlog.verify_leaf_inclusion(BODIES[index - 1], index, size, ours, root) or size == 1


def test_both_show_in_the_same_way_that_a_log_has_grown():
    for new in range(1, LOG.size + 1):
        for old in range(1, new + 1):
            ours, theirs = consistency_proof(old, new, node), THEIR_TREE.consistency_proof(old, new)
            assert ours == theirs
            roots = THEIR_TREE.root(old), THEIR_TREE.root(new)
            assert aics_tlog.verify_consistency(old, new, *roots, ours)
            verify_consistency(old, new, theirs, *roots)
            assert old == new or not aics_tlog.verify_consistency(old, new, *roots[::-1], ours)


def test_a_key_is_written_in_the_same_way():
    theirs = aics_tlog.vkey_from_ed25519(LOG.origin, LOG.vkey().public_key)
    assert aics_tlog.format_vkey(theirs) == str(LOG.vkey())
    assert VerifierKey.parse(aics_tlog.format_vkey(theirs)) == LOG.vkey()


def test_our_checkpoints_are_read_and_verified_there():
    for size, data in LOG.notes:
        result = aics_tlog.verify_checkpoint(aics_tlog.parse_note(data), THEIR_KEY, expected_origin=LOG.origin)
        assert result.ok, result
        found = aics_tlog.parse_checkpoint(aics_tlog.parse_note(data).text)
        assert (found.origin, found.size, found.root) == (LOG.origin, size, THEIR_TREE.root(size))


def test_their_checkpoint_stands_in_a_log_of_ours():
    theirs = aics_tlog.sign_checkpoint(
        aics_tlog.Checkpoint(LOG.origin, LOG.size, THEIR_TREE.root()), private_key(1), LOG.origin
    ).to_bytes()
    # Ed25519 leaves no choice: the same text by the same key is the same note.
    assert theirs == LOG.notes[-1][1]
    assert open_checkpoint(theirs, LOG.origin, [LOG.vkey()], verifies) == Checkpoint(
        LOG.origin, LOG.size, FRONTIER.root()
    )
    result = verify(LOG.items(), {"another reader": RememberedNote(theirs)}, verifies, trusted=LOG.vkey())
    assert result.verdict is Verdict.HOLDS


def test_a_witness_of_ours_and_one_of_theirs_write_the_same_line():
    key = CosignerKey("witness.example/w1", private_key(7).public_key().public_bytes_raw())
    assert aics_tlog.format_vkey(aics_tlog.cosignature_vkey(key.name, key.public_key)) == str(key)
    for size, data in LOG.notes:
        note, root = parse_note(data), THEIR_TREE.root(size)
        ours = cosign(note.text, key, 1679315147, private_key(7).sign)
        blob, theirs = aics_tlog.sign_cosignature(private_key(7), key.name, 1679315147, LOG.origin, size, root)
        assert (ours.name, ours.key_id, ours.value) == (theirs.name, theirs.key_id, blob)
        assert aics_tlog.verify_cosignature(ours.value, key.name, key.public_key, LOG.origin, size, root)
        assert cosigned_by(with_lines(note, f"{ours}\n".encode()), key, verifies).at == 1679315147


def test_a_changed_byte_of_a_checkpoint_is_refused_by_both():
    data = LOG.notes[-1][1]
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(CheckpointError):
            open_checkpoint(changed, LOG.origin, [LOG.vkey()], verifies)
        try:
            note = aics_tlog.parse_note(changed)
        except ValueError:
            continue
        assert not aics_tlog.verify_note(note, [THEIR_KEY]), place


def test_a_note_with_a_witness_of_theirs_is_one_of_ours_still():
    size, data = LOG.notes[-1]
    stamped, line = aics_tlog.sign_cosignature(
        private_key(9), "witness.example", 1_780_000_000, LOG.origin, size, THEIR_TREE.root()
    )
    ours = parse_note(data)
    theirs = aics_tlog.Note(ours.text, (*aics_tlog.parse_note(data).signatures, line))
    assert open_checkpoint(theirs.to_bytes(), LOG.origin, [LOG.vkey()], verifies).size == size
    witness = aics_tlog.cosignature_vkey("witness.example", private_key(9).public_key())
    back = aics_tlog.parse_note(str(parse_note(theirs.to_bytes())).encode())
    assert aics_tlog.verify_checkpoint(back, THEIR_KEY, [witness], 1, now=1_780_000_001).ok
    assert stamped


def test_a_proof_of_ours_is_a_bundle_of_theirs_and_back():
    size, data = LOG.notes[-1]
    for index in (0, 1, 12, size - 1):
        ours = InclusionProof(index, tuple(inclusion_proof(index, size, node)), data)
        read = parse_proof(bytes(ours))
        bundle = aics_tlog.Bundle(BODIES[index], read.index, read.path, read.checkpoint.decode())
        assert aics_tlog.verify_bundle(bundle, THEIR_KEY, expected_origin=LOG.origin).ok
        tiles = aics_tlog.MemoryTileStore()
        aics_tlog.IncrementalTileWriter(tiles).append(BODIES)
        theirs = aics_tlog.bundle_from_tiles(tiles, index, data)
        proof = InclusionProof(theirs.index, tuple(theirs.inclusion_proof), theirs.checkpoint_note.encode())
        leaf = hashlib.sha256(b"\x00" + theirs.entry_bytes).digest()
        assert bytes(parse_proof(bytes(proof))) == bytes(ours)
        assert proof.verify(leaf, LOG.origin, [LOG.vkey()], verifies).size == size
