from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.ledger.submission import PROOF_LIMIT, Submission, SubmissionError, parse_size, parse_submission

NOTE = b"a/b\n5\nroot\n\n\xe2\x80\x94 a/b c2ln\n"
HASH = bytes(range(32))


@given(st.integers(0, 2**53 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=PROOF_LIMIT))
def test_a_submission_is_read_as_it_was_written(old: int, proof: list[bytes]) -> None:
    submission = Submission(old, tuple(proof), NOTE)
    assert parse_submission(submission.body()) == submission


def test_its_form_is_the_published_one() -> None:
    expected = b"old 20852014\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n" + NOTE
    assert Submission(20852014, (HASH,), NOTE).body() == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        NOTE,
        b"old 5\n" + NOTE.replace(b"\n\n", b"\n"),
        b"old \n\n" + NOTE,
        b"old 05\n\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 5 \n\n" + NOTE,
        b"old  5\n\n" + NOTE,
        b"OLD 5\n\n" + NOTE,
        b"old 9007199254740992\n\n" + NOTE,
        b"old \xb2\n\n" + NOTE,
        b"old 5\r\n\r\n" + NOTE,
        b"old 5\nAAEC\n\n" + NOTE,
        b"old 5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\n" + NOTE,
        b"old 5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n\n" + NOTE,
        Submission(5, (HASH,) * (PROOF_LIMIT + 1), NOTE).body(),
    ],
)
def test_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(SubmissionError):
        parse_submission(body)


def test_a_size_is_a_number_in_its_one_spelling() -> None:
    assert (parse_size(b"0"), parse_size(b"17")) == (0, 17)
    assert [parse_size(data) for data in (b"", b"017", b"+1", b"1\n", b"1 ", b"\xff", b"9" * 16)] == [None] * 7
