from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_what_does_not_decode_is_cut_short_or_goes_on_is_refused() -> None:
    good = gzip.compress(b"hello")
    for pieces in ([b"not gzip at all"], [good[:-4]], [good + b"more"], [good, b"more"]):
        with pytest.raises(Refusal):
            decode(b"gzip", pieces)
