"""The composition root, in a process of its own behind real walls, before a proxy that tests steer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx2
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


async def test_it_starts_records_serves_and_stops(data_directory: Path) -> None:
    layout = DataLayout(data_directory)
    proxy = SteeredProxy(None)
    server = HttpServer(proxy.application())
    proxys, control = socket_pair(socket.SOCK_SEQPACKET)
    spawners, spawner = socket_pair(socket.SOCK_SEQPACKET)
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
                assert proxy.events() == ["gateway.started:fact"]
                token = layout.command_line_token.read_text().strip()
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                    assert (await client.get("/healthz")).json() == {"status": "ok"}
                    assert (await client.get("/api/agents")).status_code == 401
                    answer = await client.get("/api/agents", headers={"Authorization": f"Bearer {token}"})
                assert [agent["name"] for agent in answer.json()] == ["assistant"]
                assert _resident_mebibytes(process.pid) < 160
            finally:
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                handing.cancel()
        await server.stop()
    for one in (proxys, control, spawners, spawner):
        one.close()
    os.close(ready)
    assert layout.gateway_head.exists()


_NAMES: Any = ("listen", "control", "spawner", "ready")


def _resident_mebibytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
