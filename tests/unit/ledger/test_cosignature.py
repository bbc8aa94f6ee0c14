from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from witnessed_log import MemoryLog, numbered

from mycelos.ledger.cosignature import CosignerKey, cosign, cosigned_by, with_lines
from mycelos.ledger.signed_note import NoteError, Signature, VerifierKey, parse_note
from mycelos.proxy.vault.signing import verifies

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
KEY = CosignerKey("witness.example/w1", PRIVATE.public_key().public_bytes_raw())
LOG = MemoryLog(numbered(5))
NOTE = parse_note(LOG.at(5).encode())
LINE = cosign(NOTE.text, KEY, 1679315147, PRIVATE.sign)


def lines(*found: Signature) -> bytes:
    return "".join(f"{line}\n" for line in found).encode()


def test_a_cosignature_is_verified_and_tells_its_time() -> None:
    found = cosigned_by(with_lines(NOTE, lines(LINE)), KEY, verifies)
    assert (found.note.text, found.at) == (NOTE.text, 1679315147)
    assert [line.name for line in found.note.signatures] == [LOG.key.name, KEY.name]


def test_what_is_signed_has_the_published_form() -> None:
    asked = []
    cosign("a/b\n1\nroot\n", KEY, 1679315147, lambda message: asked.append(message) or bytes(64))
    assert asked == [b"cosignature/v1\ntime 1679315147\na/b\n1\nroot\n"]


def test_the_newest_of_two_times_counts_and_other_keys_are_passed_over() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)
    stranger = CosignerKey("witness.example/w2", other.public_key().public_bytes_raw())
    later = cosign(NOTE.text, KEY, 1679315148, PRIVATE.sign)
    whole = with_lines(NOTE, lines(cosign(NOTE.text, stranger, 2, other.sign), later, LINE))
    assert cosigned_by(whole, KEY, verifies).at == 1679315148
    with pytest.raises(NoteError, match="has not cosigned"):
        cosigned_by(with_lines(NOTE, lines(LINE)), stranger, verifies)


def test_the_vkey_of_a_witness_is_of_its_own_kind() -> None:
    assert CosignerKey.parse(str(KEY)) == KEY
    with pytest.raises(NoteError, match="kind 0x01"):
        VerifierKey.parse(str(KEY))
    with pytest.raises(NoteError, match="kind 0x04"):
        CosignerKey.parse(str(LOG.key))


def test_a_cosignature_of_another_checkpoint_does_not_verify() -> None:
    other = cosign(parse_note(LOG.at(4).encode()).text, KEY, 1679315147, PRIVATE.sign)
    with pytest.raises(NoteError, match="does not verify"):
        cosigned_by(with_lines(NOTE, lines(other)), KEY, verifies)


@given(st.integers(0, 71), st.integers(0, 7))
def test_one_bit_of_a_cosignature_changed_is_noticed(place: int, bit: int) -> None:
    value = bytearray(LINE.value)
    value[place] ^= 1 << bit
    with pytest.raises(NoteError, match="does not verify"):
        cosigned_by(with_lines(NOTE, lines(Signature(LINE.name, LINE.key_id, bytes(value)))), KEY, verifies)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", b"no line\n", b"\n" + lines(LINE), lines(LINE) + b"\n" + lines(LINE), lines(LINE)[:-1], b"\xff"],
)
def test_an_answer_that_is_not_lines_alone_is_refused(answer: bytes) -> None:
    with pytest.raises(NoteError):
        with_lines(NOTE, answer)
