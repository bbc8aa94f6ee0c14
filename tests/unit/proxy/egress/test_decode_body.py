from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress import decode_body
from mycelos.proxy.egress.decode_body import BodyDecoder
from mycelos.wire.problems import ProblemCode, Refusal


def decode(encoding: bytes, pieces: list[bytes]) -> bytes:
    decoder = BodyDecoder([(b"content-encoding", encoding)])
    found = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return found


@given(st.binary(max_size=5000), st.integers(1, 50))
def test_gzip_and_deflate_decode_however_they_are_cut(data: bytes, size: int) -> None:
    for encoding, encoded in ((b"gzip", gzip.compress(data)), (b"deflate", zlib.compress(data)), (b"identity", data)):
        pieces = [encoded[start : start + size] for start in range(0, len(encoded), size)]
        assert decode(encoding, pieces) == data


def test_a_large_answer_decodes_to_its_end() -> None:
    data = bytes(range(256)) * 4096
    assert decode(b"gzip", [gzip.compress(data)]) == data


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"x"])
def test_what_was_not_asked_for_and_cannot_be_looked_into_is_refused(encoding: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        BodyDecoder([(b"content-encoding", encoding)])
    assert caught.value.problem.code is ProblemCode.UPSTREAM_INVALID


def test_a_bomb_is_refused_before_it_is_large() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    seen = 0
    decoder = BodyDecoder([(b"content-encoding", b"gzip")])
    with pytest.raises(Refusal):
        for piece in decoder.feed(bomb):
            seen += len(piece)
    assert seen < 10 * 1024 * 1024


def test_the_ratio_is_allowed_up_to_its_bound_and_not_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * 1024 * 1024
    encoded = gzip.compress(bytes(size))
    free = size - decode_body.MAXIMUM_RATIO * len(encoded)
    monkeypatch.setattr(decode_body, "_FREE_BYTES", free)
    assert len(decode(b"gzip", [encoded])) == size
    monkeypatch.setattr(decode_body, "_FREE_BYTES", free - 1)
    with pytest.raises(Refusal) as caught:
        decode(b"gzip", [encoded])
    assert f"more than {decode_body.MAXIMUM_RATIO} times" in caught.value.problem.detail


@pytest.mark.parametrize("sizes", [[10**9], [1] * 20])
def test_a_bomb_inside_a_bomb_comes_out_as_what_the_first_one_holds(sizes: list[int]) -> None:
    """One encoding is taken off, and only one: nothing decodes what was decoded."""
    inner = gzip.compress(bytes(10 * 1024 * 1024))
    outer = gzip.compress(inner)
    pieces, start = [], 0
    for size in [*sizes, len(outer)]:
        pieces.append(outer[start : start + size])
        start += size
    assert decode(b"gzip", [piece for piece in pieces if piece]) == inner


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


GOOD = gzip.compress(b"hello")


@pytest.mark.parametrize(
    ("encoding", "pieces", "why"),
    [
        (b"gzip", [GOOD + GOOD], "there is more after its encoded end"),
        (b"gzip", [GOOD, GOOD], "there is more after its encoded end"),
        (b"gzip", [GOOD + b"\0"], "there is more after its encoded end"),
        (b"gzip", [GOOD, b"more"], "there is more after its encoded end"),
        (b"gzip", [zlib.compress(b"hello")], "it does not decode"),
        (b"gzip", [b"not gzip at all"], "it does not decode"),
        (b"gzip", [GOOD[:-5] + b"\0" + GOOD[-4:]], "it does not decode"),
        (b"deflate", [raw_deflate(b"hello")], "it does not decode"),
        (b"deflate", [GOOD], "it does not decode"),
        (b"deflate", [zlib.compress(b"hello") * 2], "there is more after its encoded end"),
        (b"gzip", [GOOD[:-4]], "its encoded body is cut short"),
        (b"gzip", [GOOD[:5]], "its encoded body is cut short"),
    ],
)
def test_an_encoded_body_is_one_whole_and_nothing_else(encoding: bytes, pieces: list[bytes], why: str) -> None:
    for cut in (pieces, [bytes([byte]) for piece in pieces for byte in piece]):
        with pytest.raises(Refusal) as caught:
            decode(encoding, cut)
        assert why in caught.value.problem.detail


def test_a_header_of_gzip_without_end_gives_nothing_and_keeps_nothing() -> None:
    decoder = BodyDecoder([(b"content-encoding", b"gzip")])
    # The name of a file, which ends with a NUL that never comes.
    assert list(decoder.feed(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100)) == []
    for _ in range(100):
        assert list(decoder.feed(b"n" * 65536)) == []
    with pytest.raises(Refusal):
        decoder.finish()
