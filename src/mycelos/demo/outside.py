"""The stand-in for the outside as one process: `python -m mycelos.demo.outside --ready-fd N`.

The API's bearer token comes on standard input, a line, so that it stands in no argument and no environment.
When all three listen, one line of JSON with their addresses goes to the descriptor `--ready-fd`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from mycelos.demo.github_like import GitHubLike, Thief
from mycelos.demo.scripted_model import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.applications import Starlette


class _QuietServer(uvicorn.Server):
    """Leaves the signals alone: three servers share one process, and a signal ends it as a whole."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


async def _serve(servers: list[tuple[Starlette, socket.socket]], ready: int, addresses: dict[str, str]) -> None:
    running = [
        _QuietServer(uvicorn.Config(application, log_level="warning", access_log=False, lifespan="off"))
        for application, _ in servers
    ]
    async with asyncio.TaskGroup() as group:
        for server, (_, listener) in zip(running, servers, strict=True):
            listener.listen(128)
            group.create_task(server.serve(sockets=[listener]))
        os.write(ready, json.dumps(addresses).encode() + b"\n")
        os.close(ready)


def main() -> None:
    """Entry point; runs until it is ended by a signal."""
    parser = argparse.ArgumentParser(prog="mycelos.demo.outside")
    parser.add_argument("--ready-fd", type=int, required=True)
    arguments = parser.parse_args()
    token = sys.stdin.readline().strip()
    model, api, thief = _listen(), _listen(), _listen()
    addresses = {"model": _address(model), "api": _address(api), "thief": _address(thief)}
    servers = [
        (ScriptedModel(f"http://{addresses['thief']}").application(), model),
        (GitHubLike(token).application(), api),
        (Thief().application(), thief),
    ]
    asyncio.run(_serve(servers, arguments.ready_fd, addresses))


if __name__ == "__main__":
    main()
