from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.readings import digits_only, glances, squeezed, trace, unescaped

PIECES = st.lists(
    st.sampled_from(
        [b"a", b"B", b"7", b"%41", b"%2525", b"%", b"\\u0041", b"\\\\u0042", b"\\u00e9", b"\\ud83d\\ude00", b"\\n",
         b"\\/", b"\\", b"&amp;", b"&#65;", b"&#x0042;", b"&sol;", b"&", b";", b"\n", b"\r\n", b" ", b"\n\n", b"\xff",
         b"%zz", b"\\ud83d", b"0x", b"\\x41", b"00xx", b"%u0041", b"\\'", b":", b"-"]
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a%2Fb", b"a/b"), (b"a%252Fb", b"a/b"), (b"a%25252fb", b"a/b"), (b"%C3%A9", "é".encode()),
        (b"\\u002f", b"/"), (b"\\\\u002F", b"/"), (b"\\u00e9", "é".encode()), (b"\\ud83d\\ude00", "😀".encode()),
        (b"\\/", b"/"), (b'\\"', b'"'), (b"\\n", b"\n"), (b"&#47;", b"/"), (b"&#0047;", b"/"), (b"&#x2F;", b"/"),
        (b"%u002F", b"/"), (b"\\x2f", b"/"), (b"\\u{2f}", b"/"), (b"\\'", b"'"), (b"\\\\\\'", b"'"), (b"\\\\", b"\\"),
        (b"%0A", b"\n"), (b"\\\\n", b"\n"), (b"\\f", b"\f"), (b"&#X002f;", b"/"),
        (b"&sol;", b"/"), (b"&amp;sol;", b"/"), (b"&amp;#47;", b"/"), (b"&eacute;", "é".encode()),
    ],
)  # fmt: skip
def test_an_escape_is_read_as_what_it_means(written: bytes, read: bytes) -> None:
    (reading,) = unescaped(written)
    assert reading.data == read
    assert reading.origin(0, len(read)) == (0, len(written))


@pytest.mark.parametrize(
    "written", [b"100% sure", b"a & b", b"&nosuchname;", b"\\x4", b"\\u{}", b"&#x110000;", b"%4", b"\\u00"]
)
def test_what_is_no_escape_is_read_as_it_stands(written: bytes) -> None:
    assert unescaped(written) == []


def test_what_was_escaped_in_two_ways_is_read_in_turns() -> None:
    assert [reading.data for reading in unescaped(b"\\u0025\\u0032F")] == [b"%2F", b"/"]
    assert [reading.data for reading in unescaped(b"%5Cu002f")] == [b"\\u002f", b"/"]


@given(PIECES)
def test_each_byte_of_a_reading_comes_from_where_it_says(data: bytes) -> None:
    for reading in unescaped(data)[:1]:
        reach = 0
        for index in range(len(reading.data)):
            start, stop = reading.origin(index, index + 1)
            assert 0 <= start < stop <= len(data)
            # In order, and without a gap: what lies between two bytes belongs to one of them.
            assert start <= reach <= stop
            reach = stop
            if stop - start == 1:
                assert reading.data[index] == data[start]
        assert reading.origin(0, len(reading.data)) == (0, len(data)) or not reading.data


@given(PIECES)
def test_a_glance_reads_what_the_slow_reading_reads(data: bytes) -> None:
    assert glances(data) == [reading.data for reading in unescaped(data)]


@given(PIECES, st.booleans())
def test_a_trace_is_the_squeezed_text_with_its_places(data: bytes, digits: bool) -> None:
    quick = digits_only(squeezed(data)) if digits else squeezed(data)
    traced = trace(data, digits=digits)
    # Where an empty line keeps two parts apart, the quick one has a byte of its own.
    assert traced.data.replace(b"\n", b"") == quick.replace(b"\0", b"")
    for index in range(len(traced.data)):
        start, stop = traced.origin(index, index + 1)
        assert data[start:stop].lower() == traced.data[index : index + 1].lower()


def test_an_empty_line_keeps_two_parts_apart() -> None:
    assert squeezed(b"ab\ncd\r\nef") == b"abcdef"
    for text in (b"ab\n\ncd", b"ab\r\n\r\ncd"):
        assert b"abcd" not in squeezed(text)
        assert b"abcd" not in trace(text, digits=False).data
