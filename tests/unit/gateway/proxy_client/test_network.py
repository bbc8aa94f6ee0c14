"""Ways to the proxy: handed over, by path, by name; and nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import httpcore2
import msgspec
import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.proxy_client.network import Backend, ByName, ByPath, HandedOver, Stream, connector
from mycelos.wire.problems import Refusal
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

pytestmark = pytest.mark.anyio

WAIT = 20.0


@pytest.mark.parametrize(
    "url",
    ["", "fd:4", "fd:x", "fd:", "unix:relative", "https://a:1", "http://a", "http://a:0", "http://a:1/x"],
)
def test_another_form_of_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MYCELOS_PROXY_URL"):
        connector(url, 3)


async def test_by_path_and_by_name_reach_a_listener(short_directory: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    by_path = connector(f"unix:{short_directory}/p.sock", None)
    by_name = connector(f"http://127.0.0.1:{port}", None)
    assert isinstance(by_path, ByPath)
    assert isinstance(by_name, ByName)
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as tcp:
        unix.bind(f"{short_directory}/p.sock")
        tcp.bind(("127.0.0.1", port))
        for listener, connect in ((unix, by_path), (tcp, by_name)):
            listener.listen()
            async with asyncio.timeout(WAIT):
                with await connect() as connected:
                    accepted, _ = listener.accept()
                    with accepted:
                        connected.send(b"x")
                        assert accepted.recv(1) == b"x"
            connect.close()
    with pytest.raises(OSError, match="refused"):
        await by_path()


@pytest.mark.parametrize("descriptors", [0, 2])
async def test_an_answer_without_exactly_one_descriptor_is_refused_and_closed(descriptors: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connect = connector(f"fd:{theirs.fileno()}", theirs.detach())
    assert isinstance(connect, HandedOver)
    extra = [socket.socketpair() for _ in range(descriptors)]
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_refused(connect))
        ours.setblocking(False)
        data = await asyncio.get_running_loop().sock_recv(ours, 4096)
        nonce = msgspec.json.decode(data, type=ChannelRequest).nonce
        answer = msgspec.json.encode(ChannelAnswer(v=1, nonce=nonce))
        socket.send_fds(ours, [answer], [pair[1].fileno() for pair in extra])
        await asked
    for mine, given in extra:
        given.close()
        assert mine.recv(1) == b"", "the copy that was handed over is closed too"
        mine.close()
    connect.close()
    ours.close()


async def _refused(connect: HandedOver) -> None:
    with pytest.raises((Refusal, ValueError)):
        await connect()


async def test_a_stream_reads_writes_and_tells_that_the_other_side_closed() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours)
    assert stream.get_extra_info("is_readable") is False
    assert stream.get_extra_info("ssl_object") is None
    await stream.write(b"ping", timeout=WAIT)
    assert theirs.recv(4) == b"ping"
    theirs.send(b"pong")
    assert await stream.read(10, timeout=WAIT) == b"pong"
    with pytest.raises(httpcore2.ReadTimeout):
        await stream.read(10, timeout=0)
    theirs.close()
    assert stream.get_extra_info("is_readable") is True
    assert await stream.read(10, timeout=WAIT) == b""
    with pytest.raises(httpcore2.WriteError):
        await stream.write(b"x" * 100, timeout=WAIT)
    await stream.aclose()
    assert stream.get_extra_info("is_readable") is True


async def test_no_encrypted_stream_and_no_other_way_is_offered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(httpcore2.UnsupportedProtocol):
        await Stream(ours).start_tls(None)  # type: ignore[arg-type]


async def test_a_failed_connection_is_the_pools_error_without_text() -> None:
    class Fails:
        async def __call__(self) -> socket.socket:
            raise OSError(5, "somebody's text")

        def close(self) -> None:
            """Nothing is held."""

    with pytest.raises(httpcore2.ConnectError) as failed:
        await Backend(Fails()).connect_tcp("anywhere", 80)
    assert str(failed.value) == ""
