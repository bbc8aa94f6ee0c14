# ruff: noqa: INP001, T201 - a script that talks to a person
"""How fast the ledger appends and verifies: `python benchmarks/ledger.py [SECONDS]`, in a folder of the disk measured.

Each append is durable when it counts. The disk's own rate of fdatasync is measured in the same run, because every
other number follows from it; the first and the last measurement show how much the machine moved meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mycelos.ledger.events import Event
from mycelos.ledger.verify import verify
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder

DETAILS = {"method": "GET", "scheme": "https", "host": "api.example", "port": 443, "path": "/repos/a/b/issues"}


def sync_rate(directory: Path, seconds: float) -> float:
    """How often a second this disk syncs, 4 KiB appended each time."""
    with (directory / "sync").open("wb", buffering=0) as stream:
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            stream.write(b"x" * 4096)
            os.fdatasync(stream.fileno())
            count += 1
    return count / seconds


async def append(path: Path, producers: int, seconds: float) -> list[float]:
    """Seconds that each append took, with so many producers that each wait for their own."""
    recorder = await Recorder.open(path)
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def produce() -> None:
        while (began := time.perf_counter()) < end:
            await recorder.intent(Event.PROXY_HTTP_REQUEST, run="run", agent="assistant", details=DETAILS)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(produce() for _ in range(producers)))
    await recorder.close()
    return took


def report(directory: Path, seconds: float) -> None:
    """Measure and print."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"fdatasync          {sync_rate(directory, seconds):>10,.0f} /s")
    for producers in (1, 64):
        took = asyncio.run(append(directory / f"{producers}.sqlite", producers, seconds))
        centiles = statistics.quantiles(took, n=100)
        print(
            f"{producers:>2} producers       {len(took) / seconds:>10,.0f} appends/s   "
            f"p50 {centiles[49] * 1000:.2f} ms   p99 {centiles[98] * 1000:.2f} ms"
        )
    with LedgerReader(directory / "64.sqlite") as reader:
        began = time.perf_counter()
        count = verify(reader.rows(), {}).entries
        print(f"verify             {count / (time.perf_counter() - began):>10,.0f} entries/s  ({count:,} entries)")
    print(f"fdatasync again    {sync_rate(directory, seconds):>10,.0f} /s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as name:
        report(Path(name), float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
