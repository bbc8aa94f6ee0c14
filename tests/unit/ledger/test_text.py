from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mycelos.ledger.text import escape, shorten


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, é and 漢字", "plain text, é and 漢字"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("two\nlines", "two\\u000alines"),
        ("\x7f\x9b", "\\u007f\\u009b"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028separator", "line\\u2028separator"),
        ("\ud800", "\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, escaped):
    assert escape(text) == escaped


@given(st.text(st.characters()))
def test_escaped_text_is_printable_and_stays_as_it_is(text):
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)


def test_long_text_is_shortened_with_an_ellipsis():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
