from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from ledger_vectors import published

from mycelos.ledger.signed_note import NOTE_LIMIT, SIGNATURE_LIMIT, NoteError, VerifierKey, parse_note, sign_note
from mycelos.proxy.vault.signing import verifies

TEXT = "who goes there\n\nnobody\n"


def signer(number: int, name: str = "log.example/one"):
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return VerifierKey(name, private.public_key().public_bytes_raw()), private.sign


ONE, OTHER = signer(1), signer(2, "witness.example")
NOTE = str(sign_note(TEXT, [ONE, OTHER])).encode()


def test_a_note_is_read_as_it_was_written_and_verified_by_whom_one_trusts():
    note = parse_note(NOTE)
    assert (note.text, str(note).encode()) == (TEXT, NOTE)
    assert note.verified_by([ONE[0]], verifies) == (ONE[0],)
    assert note.verified_by([OTHER[0], ONE[0]], verifies) == (ONE[0], OTHER[0])


def test_a_note_that_nobody_trusted_has_signed_is_refused():
    stranger = signer(3)[0]
    for keys in ([], [stranger], [VerifierKey("other.example", ONE[0].public_key)]):
        with pytest.raises(NoteError, match="no trusted key"):
            parse_note(NOTE).verified_by(keys, verifies)


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 7))
def test_one_bit_of_a_note_changed_is_noticed(place, bit):
    changed = bytearray(NOTE)
    changed[place] ^= 1 << bit
    with pytest.raises(NoteError):
        # Both signatures are asked for: a change in one line alone leaves the other good.
        verified = parse_note(bytes(changed)).verified_by([ONE[0], OTHER[0]], verifies)
        if len(verified) < 2:
            raise NoteError


def test_a_bad_line_of_a_trusted_key_spoils_the_note():
    forged = parse_note(NOTE.replace(b"nobody", b"a guard"))
    with pytest.raises(NoteError, match="does not verify"):
        forged.verified_by([ONE[0]], verifies)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"text\n", b"text\n\n", b"text\n\n\xe2\x80\x94 name\n", NOTE[:-1], NOTE + b"\n", NOTE + b"x\n",
        NOTE.replace(b"nobody", b"no\x00dy"), NOTE.replace(b"nobody", b"no\rdy"), NOTE.replace(b"nobody", b"\xff"),
        NOTE.replace(b"log.example/one", b"log+one"), NOTE.replace(b"log.example/one", "log\u00a0one".encode()),
        TEXT.encode() + "\n— n AAAA\n".encode(), TEXT.encode() + "\n— n AAAAAAA\n".encode(),
        TEXT.encode() + "\n— n AAAAAAB=\n".encode(), b"x" * NOTE_LIMIT + NOTE,
        TEXT.encode() + b"\n" + "— n AAAAAAA=\n".encode() * (SIGNATURE_LIMIT + 1),
    ],
)  # fmt: skip
def test_what_is_not_a_note_is_refused(data):
    with pytest.raises(NoteError):
        parse_note(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_a_refusal(data):
    with contextlib.suppress(NoteError):
        assert str(parse_note(data)).encode() == data


def test_a_key_is_written_and_read_as_a_vkey():
    key = ONE[0]
    assert VerifierKey.parse(str(key)) == key
    assert str(key).startswith("log.example/one+")


@pytest.mark.parametrize(
    "vkey",
    [
        "", "name", "name+00000000", "name+00000000+", str(ONE[0])[:-4], str(ONE[0]).replace("one+", "two+"),
        "name+00000000+" + base64.b64encode(b"\x02" + ONE[0].public_key).decode(), f" {ONE[0]}", f"{ONE[0]}\n",
        f"\udcff{ONE[0]}",
    ],
)  # fmt: skip
def test_what_is_not_a_vkey_is_refused(vkey):
    with pytest.raises(NoteError):
        VerifierKey.parse(vkey)


def test_no_note_is_made_of_a_text_that_none_can_hold():
    for text in ("", "no end", "a\tb\n", "a\x00b\n"):
        with pytest.raises(NoteError):
            sign_note(text, [ONE])


def test_published_notes_are_judged_as_their_authors_say():
    for case in published("note/signed_note.jsonl"):
        verified = None
        try:
            keys = [VerifierKey.parse(vkey) for vkey in case["vkeys"]]
            verified = [key.name for key in parse_note(base64.b64decode(case["note_b64"])).verified_by(keys, verifies)]
        except NoteError:
            pass
        assert verified == case["verified"], case["name"]
