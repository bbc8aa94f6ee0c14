"""The run's socket: whole messages over a real socket pair, and nothing that is not one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from mycelos.runner.channel import Channel, ChannelBroken, ChannelClosed
from mycelos.wire.frames import encode_frame
from mycelos.wire.runner import Done, ModelDelta

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    gateway, runner = socket.socketpair()
    gateway.settimeout(5)
    runner.settimeout(5)
    with gateway, runner:
        yield gateway, Channel(runner)


def test_messages_arrive_whole_however_the_bytes_are_cut(ends: tuple[socket.socket, Channel]) -> None:
    gateway, channel = ends
    wanted = [ModelDelta("m1", "a"), ModelDelta("m1", "b" * 1000)]
    data = b"".join(encode_frame(msgspec.json.encode(message)) for message in wanted)
    for start in range(0, len(data), 97):
        gateway.sendall(data[start : start + 97])
    assert [channel.receive(), channel.receive()] == wanted


def test_what_is_sent_is_one_frame(ends: tuple[socket.socket, Channel]) -> None:
    gateway, channel = ends
    message = Done(ok=True, code="answered", text="x")
    channel.send(message)
    assert gateway.recv(1000) == encode_frame(msgspec.json.encode(message))


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        encode_frame(b"not json"),
        encode_frame(b"\xff\xfe"),
        encode_frame(b'{"type":"unheard.of"}'),
        encode_frame(b'{"type":"model.delta","id":"m1","text":"a","more":1}'),
        encode_frame(b'{"type":"hello","protocol":2}'),
        encode_frame(b"[" * 100_000),
    ],
)
def test_what_is_no_message_breaks_the_channel(ends: tuple[socket.socket, Channel], data: bytes) -> None:
    gateway, channel = ends
    gateway.sendall(data)
    with pytest.raises(ChannelBroken):
        channel.receive()


def test_the_end_of_the_stream_is_told(ends: tuple[socket.socket, Channel]) -> None:
    gateway, channel = ends
    gateway.close()
    with pytest.raises(ChannelClosed):
        channel.receive()
    with pytest.raises(ChannelClosed):
        channel.send(Done(ok=True, code="answered", text="x"))
