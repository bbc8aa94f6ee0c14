"""The composition root, in a process of its own behind real walls, before a proxy that tests steer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from gateway_back import BEARER, WAIT, SteeredProxy, hand_over, socket_pair

from mycelos.configuration.layout import DataLayout
from mycelos.gateway.process import write_command_line_token
from mycelos.serving.http_server import HttpServer

pytestmark = pytest.mark.anyio


def test_the_command_lines_token_is_new_each_time_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "command-line.token"
    first, second = write_command_line_token(path), write_command_line_token(path)
    assert first != second
    assert path.read_text().strip() == second
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@dataclass
class Started:
    """A gateway that runs, and what stands around it."""

    pid: int
    port: int
    proxy: SteeredProxy
    layout: DataLayout


@asynccontextmanager
async def started(
    data_directory: Path, left_over: Callable[[socket.socket, socket.socket], None] = lambda *_: None
) -> AsyncIterator[Started]:
    """A gateway that said that it is ready; ``left_over`` is done at the other ends of its channels before."""
    proxy = SteeredProxy(None)
    server = HttpServer(proxy.application())
    proxys, control = socket_pair(socket.SOCK_SEQPACKET)
    spawners, spawner = socket_pair(socket.SOCK_SEQPACKET)
    left_over(proxys, spawners)
    ready, tell = os.pipe()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        numbers = [listener.fileno(), control.fileno(), spawner.fileno(), tell]
        arguments = [f"--{name}-fd={number}" for name, number in zip(_NAMES, numbers, strict=True)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "mycelos.gateway",
            f"--data-dir={data_directory}",
            *arguments,
            env={
                "PATH": "/usr/bin:/bin",
                "MYCELOS_PROXY_TOKEN": BEARER,
                "MYCELOS_PROXY_URL": f"fd:{control.fileno()}",
                "MYCELOS_PORT": str(port),
            },
            pass_fds=numbers,
        )
        os.close(tell)
        async with asyncio.timeout(2 * WAIT), asyncio.TaskGroup() as group:
            handing = group.create_task(hand_over(proxys, server))
            try:
                assert await asyncio.to_thread(os.read, ready, 100) == b"ready\n"
                yield Started(process.pid, port, proxy, DataLayout(data_directory))
            finally:
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                handing.cancel()
        await server.stop()
    for one in (proxys, control, spawners, spawner):
        one.close()
    os.close(ready)


async def test_it_starts_records_serves_and_stops(data_directory: Path) -> None:
    async with started(data_directory) as gateway:
        assert gateway.proxy.events() == ["gateway.started:fact"]
        token = gateway.layout.command_line_token.read_text().strip()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert (await client.get("/api/agents")).status_code == 401
            answer = await client.get("/api/agents", headers={"Authorization": f"Bearer {token}"})
        assert [agent["name"] for agent in answer.json()] == ["assistant"]
        assert _resident_mebibytes(gateway.pid) < 160
    assert gateway.layout.gateway_head.exists()


async def test_a_run_and_a_connection_of_a_dead_gateway_end_before_it_says_ready(data_directory: Path) -> None:
    kept: list[socket.socket] = []

    def left_over(proxys: socket.socket, spawners: socket.socket) -> None:
        for door in (proxys, spawners):
            mine, given = socket_pair(socket.SOCK_STREAM)
            kept.append(mine)
            with given:
                socket.send_fds(door, [msgspec.json.encode({"v": 1, "nonce": "0" * 32})], [given.fileno()])

    async with started(data_directory, left_over):
        for mine in kept:
            mine.setblocking(False)
            assert mine.recv(1) == b"", "nobody holds the other end"
    for mine in kept:
        mine.close()


async def test_what_stops_it_beside_running_tasks_is_one_line_and_no_group_of_errors(
    data_directory: Path, tmp_path: Path
) -> None:
    """Runs are taken and the proxy is followed before it listens: here on what is no socket."""
    server = HttpServer(SteeredProxy(None).application())
    proxys, control = socket_pair(socket.SOCK_SEQPACKET)
    spawners, spawner = socket_pair(socket.SOCK_SEQPACKET)
    with (tmp_path / "no-socket").open("wb") as no_socket:
        numbers = [no_socket.fileno(), control.fileno(), spawner.fileno()]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-m", "mycelos.gateway", f"--data-dir={data_directory}"),
            *(f"--{name}-fd={number}" for name, number in zip(_NAMES, numbers, strict=False)),
            env={
                "PATH": "/usr/bin:/bin",
                "MYCELOS_PROXY_TOKEN": BEARER,
                "MYCELOS_PROXY_URL": f"fd:{control.fileno()}",
            },
            pass_fds=numbers,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(2 * WAIT), asyncio.TaskGroup() as group:
            handing = group.create_task(hand_over(proxys, server))
            _, said = await process.communicate()
            handing.cancel()
    await server.stop()
    for one in (proxys, control, spawners, spawner):
        one.close()
    assert process.returncode == 1
    expected = rb"mycelos gateway: the system refused \(OSError ENOTSOCK at socket:\d+\); see disk space and rights\n"
    assert re.fullmatch(expected, said), said


_NAMES: Any = ("listen", "control", "spawner", "ready")


def _resident_mebibytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
