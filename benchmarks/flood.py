# ruff: noqa: INP001, SLF001, T201, TID251 - a script that talks to a person, with a process beside it
"""How long the operator's revocation takes while a hijacked gateway floods: `python benchmarks/flood.py [DELETES]`.

A proxy of its own in a folder of the disk measured, a process as its gateway with as many connections as it is given,
and the operator, who stores credentials beforehand and deletes them one by one meanwhile. What is measured is the
call at the operator's door, as `mycelos credential delete` makes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from mycelos.prove.twin import Twin
from mycelos.wire.operator import StoreCredential

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONNECTIONS = 250
"""The proxy hands out 256."""
PAUSE = 0.1
"""Seconds between two revocations."""
BEGINNING = 1.0
"""Seconds that a flood has before the first revocation."""
PORT = 9
"""Nobody listens there: each request to it is put on record twice."""


def request(bearer: str, method: str, path: str, message: object = None) -> bytes:
    """One request's bytes."""
    body = b"" if message is None else json.dumps(message).encode()
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: mycelos-proxy",
        f"Authorization: Bearer {bearer}",
        "Mycelos-Protocol: 1",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def floods(bearer: str) -> dict[str, bytes]:
    """What each flood sends again and again."""
    large = {"event": "policy.changed", "details": {"changed": ["x" * 1024] * 60}}
    bound = {"method": "GET", "url": f"http://127.0.0.1:{PORT}/bound", "inject_credential": "canary"}
    return {
        "appends": request(bearer, "POST", "/audit/append", {"event": "tool.called", "details": {"tool": "a.b"}}),
        "large appends": request(bearer, "POST", "/audit/append", large),
        "refusals": request(bearer, "POST", "/http", {"method": "GET", "url": "https://evil.example/"}),
        "requests": request(bearer, "POST", "/http", bound),
        "reads": request(bearer, "GET", "/audit/events?limit=1000"),
        "filtered reads": request(bearer, "GET", "/audit/events?limit=1000&run=none"),
        "wrong bearers": request("x" * 43, "GET", "/audit/events"),
        "other routes": request(bearer, "POST", "/credential/delete"),
        "text": request(bearer, "POST", "/secret/check", {"text": "x" * 30_000}),
        "half requests": request(bearer, "POST", "/http", {"method": "GET", "url": "https://evil.example/"})[:-1],
    }


async def hammer(connections: Sequence[socket.socket], data: Sequence[bytes], answers: dict[int, int]) -> None:
    """Send one of ``data`` over each connection, read what comes, and again, until this process is ended."""

    async def one(connection: socket.socket, data: bytes) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while True:
                writer.write(data)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                status, length = int(head[9:12]), int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                answers[status] = answers.get(status, 0) + 1

    await asyncio.gather(*map(one, connections, itertools.cycle(data)))


def gateway(connections: Sequence[socket.socket], data: Sequence[bytes], told: socket.socket) -> None:
    """The hijacked process: floods until it is told to end, then says what it was answered."""
    answers: dict[int, int] = {}

    async def flood() -> None:
        told.setblocking(False)
        task = asyncio.get_running_loop().create_task(hammer(connections, data, answers))
        await asyncio.get_running_loop().sock_recv(told, 1)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(flood())
    told.setblocking(True)
    told.sendall(json.dumps(answers).encode())


@contextlib.contextmanager
def flooding(twin: Twin, data: Sequence[bytes]) -> Iterator[dict[str, int]]:
    """A block in which the gateway floods; what it yields holds, afterwards, how often it was answered with what."""
    answers: dict[str, int] = {}
    if not data:
        yield answers
        return
    connections = [twin._connect() for _ in range(CONNECTIONS)]
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=gateway, args=(connections, data, theirs))
    process.start()
    for one in (*connections, theirs):
        one.close()
    time.sleep(BEGINNING)
    try:
        yield answers
    finally:
        ours.sendall(b".")
        answers.update(json.loads(ours.recv(65536) or b"{}"))
        process.join()
        ours.close()


def size_of(twin: Twin) -> int:
    """Bytes of the ledger with its write-ahead log."""
    return sum(path.stat().st_size for path in twin.layout.proxy.glob(f"{twin.layout.ledger.name}*"))


def measure(name: str, data: Sequence[bytes], twin: Twin, count: int) -> None:
    """Store ``count`` credentials, then delete them one by one under the flood, and print what each took."""
    services = [f"{name.replace(' ', '-')}-{number}" for number in range(count)]
    for service in services:
        bindings = (twin.binding(PORT),)
        twin.operator.store(StoreCredential(service=service, secret=f"{service}-secret", bindings=bindings))
    took = []
    began_at = time.perf_counter()
    size = size_of(twin)
    with flooding(twin, data) as answers:
        for service in services:
            began = time.perf_counter()
            twin.operator.delete(service)
            took.append(time.perf_counter() - began)
            time.sleep(PAUSE)
    seconds = time.perf_counter() - began_at
    centiles = statistics.quantiles(took, n=100, method="inclusive")
    said = ", ".join(f"{status}: {number / seconds:,.0f}/s" for status, number in sorted(answers.items()))
    grown = (size_of(twin) - size) / seconds / 1024
    print(
        f"{name:<15} p50 {centiles[49] * 1000:>7.1f} ms   p99 {centiles[98] * 1000:>7.1f} ms   "
        f"max {max(took) * 1000:>7.1f} ms   {grown:>8,.0f} KiB/s   {said}",
        flush=True,
    )


def report(count: int, only: Sequence[str]) -> None:
    """Measure and print."""
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}")
    with Twin(PORT) as twin:
        known = {name: [data] for name, data in floods(twin.bearer).items()}
        mixed = [data for (data,) in known.values()]
        for name, data in {"nothing": [], **known, "all of them": mixed, "nothing again": []}.items():
            if not only or name in only:
                measure(name, data, twin, count)


if __name__ == "__main__":
    tempfile.tempdir = "."
    report(int(sys.argv[1]) if len(sys.argv) > 1 else 30, sys.argv[2:])
