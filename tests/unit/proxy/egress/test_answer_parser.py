from __future__ import annotations

import pytest
from framing import Incomplete, Malformed, Row, mutated, read_answer, rows
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.answer_parser import MAXIMUM_HEAD, AnswerParser, FramingError

SIZES = st.lists(st.integers(1, 40), max_size=5)


def parse(data: bytes, sizes: list[int], method: str = "GET") -> tuple[AnswerParser, FramingError | None]:
    """What the parser makes of bytes that come in pieces of these sizes."""
    parser = AnswerParser(method)
    position = 0
    for size in [*sizes, len(data)]:
        try:
            if position < len(data):
                parser.feed(memoryview(data)[position : position + size])
        except FramingError as fault:
            return parser, fault
        position += size
    return parser, None


@pytest.mark.parametrize("row", [row for row in rows("answers") if row.verdict == "accepted"], ids=lambda row: row.name)
def test_the_second_reading_agrees_with_the_corpus(row: Row) -> None:
    found = read_answer(row.data, row.more.get("method", "GET"), is_closed=row.more.get("closes", False))
    assert (int(found.first[0]), found.body) == (row.more["status"], row.more["body"].encode("latin-1"))
    if row.more["reusable"]:
        assert found.end == len(row.data)


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"304 Not Modified")])
@pytest.mark.parametrize("behind", [b"", b"5;a=b"])
def test_behind_a_bodiless_head_that_announces_chunks_a_connection_is_not_kept(
    method: str, status: bytes, behind: bytes
) -> None:
    # Found by the fuzzer: httptools takes the beginning of a chunk in silence.
    plain, _ = parse(b"HTTP/1.1 " + status + b"\r\ncontent-length: 5\r\n\r\n", [], method)
    assert plain.keeps_alive
    chunked, fault = parse(b"HTTP/1.1 " + status + b"\r\ntransfer-encoding: chunked\r\n\r\n" + behind, [], method)
    assert fault is not None or (chunked.is_complete and not chunked.keeps_alive)


@given(st.binary(max_size=200), SIZES)
def test_whatever_bytes_come_the_parser_ends_in_an_answer_or_a_fault(data: bytes, sizes: list[int]) -> None:
    parse(b"HTTP/1.1 200 OK\r\n" + data, sizes)


@given(mutated("answers"), SIZES, st.sampled_from(["GET", "HEAD"]))
def test_an_answer_that_is_accepted_ends_where_a_second_reading_says(
    data: bytes, sizes: list[int], method: str
) -> None:
    parser, fault = parse(data, sizes, method)
    if not parser.is_complete:
        return
    # An exception here is the difference that an attacker looks for.
    found = read_answer(data, method, is_closed=False)
    assert (parser.status, b"".join(parser.pieces)) == (int(found.first[0]), found.body)
    assert parser.headers == found.fields
    if fault is None:
        assert data[found.end :].strip(b"\r\n") == b""


def test_the_second_reading_sees_a_difference_where_there_is_one() -> None:
    with pytest.raises(Malformed):
        read_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", "GET", is_closed=False)
    with pytest.raises(Incomplete):
        read_answer(b"HTTP/1.1 200 OK\r\n\r\na", "GET", is_closed=False)


def head_of(size: int) -> bytes:
    """An answer whose headers count ``size`` bytes."""
    fixed = b"content-length: 5\r\n"
    long = b"x: " + b"y" * (size - len(fixed) - len(b"x: \r\n")) + b"\r\n"
    return b"HTTP/1.1 200 OK\r\n" + fixed + long + b"\r\nhello"


@pytest.mark.parametrize("size", [1000, 10**6])
def test_headers_may_be_as_large_as_the_limit_says_and_not_larger(size: int) -> None:
    just = head_of(MAXIMUM_HEAD)
    parser, _ = parse(just, [size] * (len(just) // size))
    assert (parser.is_complete, parser.take(5)) == (True, b"hello")
    more = head_of(MAXIMUM_HEAD + 1)
    _, fault = parse(more, [size] * (len(more) // size))
    assert str(MAXIMUM_HEAD) in str(fault)


@pytest.mark.parametrize("endless", [b"x: ", b"x", b"5;", b"5\r\nhello\r\n0\r\nx: ", b"0"])
def test_what_never_ends_is_kept_within_a_bound(endless: bytes) -> None:
    """Of what has no end yet httptools alone knows: trailers and chunk extensions as well as headers."""
    head = b"HTTP/1.1 200 OK\r\n" + (b"" if endless[:1] == b"x" else b"transfer-encoding: chunked\r\n\r\n")
    parser, fault = parse(head + endless + b"0" * 10**6, [1000] * 1000)
    assert fault is not None
    assert parser.received < 3 * MAXIMUM_HEAD


def test_a_body_is_taken_in_pieces_that_are_bounded() -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(10**6), [])
    sizes = []
    while piece := parser.take(40_000):
        sizes.append(len(piece))
    assert (sum(sizes), parser.buffered) == (10**6, 0)
    assert max(sizes) <= 40_000
