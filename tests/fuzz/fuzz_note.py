"""Notes, checkpoints, proofs, keys: refused by their own errors alone, one spelling each, nothing passes for signed."""

from __future__ import annotations

import re

from signed_log import SignedLog, grown

from mycelos.ledger import inclusion
from mycelos.ledger.checkpoint import CheckpointError, open_checkpoint, parse_text
from mycelos.ledger.inclusion import FORMAT, InclusionProof, parse_proof
from mycelos.ledger.merkle import Frontier, ProofError, inclusion_proof
from mycelos.ledger.signed_note import NoteError, VerifierKey, parse_note
from mycelos.proxy.vault.signing import verifies

LOG: SignedLog = grown(5)
KEY = LOG.vkey()
LEAVES = [bytes.fromhex(entry.leaf_hash) for entry in LOG.entries]
NODES: dict[tuple[int, int], bytes] = {}
TREE = Frontier()
for _leaf in LEAVES:
    NODES |= {(level, place): found for level, place, found in TREE.append(_leaf)}
PROOFS = [
    InclusionProof(index, tuple(inclusion_proof(index, 6, lambda *place: NODES[place])), LOG.note())
    for index in range(6)
]
SIGNED = {size: parse_note(LOG.note(size)).text for size in range(1, 7)}
HASH = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

# The first byte says what the rest is read as: see `READ`.
SEEDS = [
    *(b"\x00" + LOG.note(size) for size in range(1, 7)),
    b"\x00" + "a\n\nb\n\n— n AAAAAAA=\n— m AAAAAAA=\n".encode(),
    *(b"\x01" + bytes(proof) for proof in PROOFS),
    b"\x01" + f"{FORMAT}\nextra AAAA\nindex 0\n{HASH}\n\nx".encode(),
    b"\x02" + SIGNED[3].encode(),
    b"\x03" + str(KEY).encode(),
    b"\x04" + bytes(PROOFS[1]).removeprefix(f"{FORMAT}\nindex ".encode()),
]
WORDS = [
    b"\n\n", "— ".encode(), "\n— n AAAAAAA=\n".encode(), b"AAAAAAB=", b"=", b"+", b" ", b"\n", HASH.encode(),
    FORMAT.encode(), f"{FORMAT}\nindex 0".encode(), b"index ", b"extra ", b"\n0", b"9007199254740992",
    "\u00a0".encode(),
    LOG.origin.encode(),
]  # fmt: skip


def _note(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteError:
        return
    assert str(note).encode() == data, "a note has two spellings"
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", note.text), "a control character"
    try:
        note.verified_by([KEY], verifies)
    except NoteError:
        assert not _is_checkpoint(data), "a checkpoint that nobody has signed"
    else:
        assert note.text in SIGNED.values(), "a text that was not signed"


def _is_checkpoint(data: bytes) -> bool:
    try:
        open_checkpoint(data, LOG.origin, [KEY], verifies)
    except CheckpointError:
        return False
    return True


def _proof(data: bytes) -> None:
    try:
        proof = parse_proof(data)
    except ProofError:
        return
    assert bytes(proof) == data, "a proof has two spellings"
    for place, leaf in enumerate(LEAVES):
        try:
            proof.verify(leaf, LOG.origin, [KEY], verifies)
        except (ProofError, CheckpointError):
            continue
        assert proof.index == place, "an entry in the place of another"
        assert proof.path == PROOFS[place].path or not proof.checkpoint.startswith(SIGNED[6].encode()), "another path"


def _text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_text(text)
    except CheckpointError:
        return
    assert found.text() == text, "a checkpoint has two spellings"


def _key(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        key = VerifierKey.parse(text)
    except NoteError:
        return
    assert str(key) == text, "a key has two spellings"


READ = (
    (b"", _note),
    (b"", _proof),
    (b"", _text),
    (b"", _key),
    (f"{FORMAT}\nindex ".encode(), _proof),
)


def one_input(data: bytes) -> None:
    before, read = READ[data[0] % len(READ) if data else 0]
    read(before + data[1:])


def plant() -> None:
    """The index of a proof may be spelled in several ways."""
    inclusion._INDEX = re.compile(r"index ([0-9]{1,16})\Z")
