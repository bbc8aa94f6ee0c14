from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.wire.frames import MAXIMUM_PAYLOAD, FrameDecoder, FrameError, encode_frame

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "frames-v1.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_golden_frames_are_written_and_read(vector: dict[str, str]) -> None:
    payload = vector["payload"].encode()
    frame = bytes.fromhex(vector["frame_hex"])
    assert encode_frame(payload) == frame
    assert FrameDecoder().feed(frame) == [payload]


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8), st.integers(1, 50))
def test_payloads_arrive_whole_however_the_stream_is_cut(payloads: list[bytes], size: int) -> None:
    stream = b"".join(map(encode_frame, payloads))
    decoder = FrameDecoder()
    received = [payload for at in range(0, len(stream), size) for payload in decoder.feed(stream[at : at + size])]
    assert received == payloads
    assert decoder.is_idle


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_stream_that_ends_inside_a_frame_is_not_idle(payload: bytes, data: st.DataObject) -> None:
    frame = encode_frame(payload)
    decoder = FrameDecoder()
    assert decoder.feed(frame[: data.draw(st.integers(1, len(frame) - 1))]) == []
    assert not decoder.is_idle


@given(st.integers(MAXIMUM_PAYLOAD + 1, 2**32 - 1) | st.just(0))
def test_an_announced_length_of_zero_or_above_the_maximum_breaks_the_stream(length: int) -> None:
    with pytest.raises(FrameError, match="a frame holds 1 to"):
        FrameDecoder().feed(length.to_bytes(4, "big"))


def test_a_payload_of_the_maximum_passes_and_one_byte_more_does_not() -> None:
    largest = bytes(MAXIMUM_PAYLOAD)
    assert FrameDecoder().feed(encode_frame(largest)) == [largest]
    for payload in (b"", largest + b"x"):
        with pytest.raises(FrameError):
            encode_frame(payload)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_framed_or_refused_and_never_kept_beyond_one_frame(data: bytes) -> None:
    decoder = FrameDecoder()
    try:
        payloads = decoder.feed(data)
    except FrameError:
        return
    assert sum(4 + len(payload) for payload in payloads) <= len(data)
    assert decoder.is_idle == (sum(4 + len(payload) for payload in payloads) == len(data))
