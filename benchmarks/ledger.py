# ruff: noqa: INP001, T201 - a script that talks to a person
"""How fast the ledger appends, verifies and proves: `python benchmarks/ledger.py [--help]`.

It works in a new folder of the disk that it stands on and removes it. Each append goes through `Recorder` on uvloop as
in the proxy: durable when it counts, each group under one signature. The disk's own rate of fdatasync is measured in
the same rounds, because every other number follows from it. The machine may be shared: beside the median of the rounds
stands the best of them, and the CPU time of an append, which says the same under any load. The exit code is 1 where
the best misses a gate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from mycelos.configuration.operator_file import LedgerSettings
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import inclusion_proof, verify_inclusion
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.disk_reserve import DiskReserve
from mycelos.proxy.ledger.keys import LedgerKeys, origin_of
from mycelos.proxy.ledger.limits import LedgerLimits
from mycelos.proxy.ledger.queue import Append
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import examine
from mycelos.proxy.ledger.signed_end import demand_signed_end
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.ledger.writer import LedgerWriter, Results
from mycelos.proxy.vault.hazmat import Secret
from mycelos.proxy.vault.signing import Signer

ABOUT: dict[str, Any] = {
    "principal": "gateway",
    "run": "run_01k4c0dec0dec0dec0dec0dec0",
    "agent": "assistant",
    "subject": "api.example",
    "details": {"method": "GET", "scheme": "https", "host": "api.example", "port": 443, "path": "/repos/a/b/issues"},
}
GROUP = 500
"""Drafts that are appended together where only the log counts."""


@dataclass(frozen=True)
class Goal:
    """A number's gate and its stretch; ``is_most`` where less is better."""

    gate: float
    stretch: float
    is_most: bool = False

    def word(self, value: float) -> str:
        """What ``value`` reaches."""
        for name, limit in (("stretch", self.stretch), ("gate", self.gate)):
            if value <= limit if self.is_most else value >= limit:
                return name
        return "MISSED"


GOALS = {
    "appends a second, 64 producers": Goal(25_000, 50_000),
    "p99 in ms, 64 producers": Goal(8, 5, is_most=True),
    "one producer, of fdatasync": Goal(0.6, 0.75),
    "verified a second": Goal(120_000, 150_000),
    "proof in ms, p50": Goal(2, 1, is_most=True),
}


@dataclass
class Figures:
    """Every number by its name, one for each round, in the order of their first."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more."""
        self.found.setdefault(name, []).append(value)

    def best(self, name: str) -> float:
        """The best of the rounds: the least where less is better; of a ratio, which moves both ways, the median."""
        if ", of " in name:
            return statistics.median(self.found[name])
        is_most = GOALS[name].is_most if name in GOALS else any(f" {unit}" in name for unit in ("ms", "µs", "seconds"))
        return (min if is_most else max)(self.found[name])

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"{'':36}{'median':>12}{'best':>12}"]
        for name, values in self.found.items():
            best = self.best(name)
            word = GOALS[name].word(best) if name in GOALS else ""
            lines.append(f"{name:36}{statistics.median(values):>12,.2f}{best:>12,.2f}  {word}".rstrip())
        return lines


def signing_keys() -> LedgerKeys:
    """Keys of a vault that nobody has."""
    with Secret(bytearray(os.urandom(32))) as seed:
        signer = Signer(seed)
    return LedgerKeys(mac_key=bytes(32), key_id="key_benchmark", public_key=signer.public_key, sign=signer.sign)


def sync_rate(folder: Path, seconds: float, *, is_in_place: bool = False) -> float:
    """How often a second this disk syncs 4 KiB: appended each time, or over the same ones again.

    The second needs no change of the file's size, as the write-ahead log does once it has its length.
    """
    path = folder / "sync"
    with path.open("wb", buffering=0) as stream:
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            os.pwrite(stream.fileno(), b"x" * 4096, 0 if is_in_place else count * 4096)
            os.fdatasync(stream.fileno())
            count += 1
    path.unlink()
    return count / seconds


async def append(path: Path, producers: int, seconds: float) -> tuple[list[float], float]:
    """Seconds that each append took, with so many producers that each wait for their own; CPU seconds of all."""
    keys = signing_keys()
    recorder = await Recorder.open(path, keys=lambda: keys)
    # Each append is counted and the disk is looked at, as in the proxy; the rate is one that refuses nothing.
    settings = LedgerSettings(bytes_per_second=1 << 30, burst_bytes=1 << 30)
    recorder.limit_by(LedgerLimits(settings, DiskReserve(path.parent, settings.reserve_bytes)))
    # The write-ahead log grows once, until its pages are first copied into the database; then it is written over.
    wal = path.with_name(path.name + "-wal")
    before = -1
    while before < (before := wal.stat().st_size):
        for _ in range(10):
            await asyncio.gather(*(recorder.intent(Event.PROXY_HTTP_REQUEST, **ABOUT) for _ in range(GROUP)))
    took: list[float] = []
    used = time.process_time()
    end = time.perf_counter() + seconds

    async def produce() -> None:
        began = time.perf_counter()
        while began < end:
            await recorder.intent(Event.PROXY_HTTP_REQUEST, **ABOUT)
            now = time.perf_counter()
            took.append(now - began)
            began = now

    await asyncio.gather(*(produce() for _ in range(producers)))
    used = time.process_time() - used
    await recorder.close()
    return took, used


def measure_appends(folder: Path, seconds: float, figures: Figures) -> None:
    """One round: the disk, one producer, 64 producers."""
    syncs, in_place = sync_rate(folder, seconds), sync_rate(folder, seconds, is_in_place=True)
    figures.add("fdatasync a second", syncs)
    figures.add("fdatasync a second, in place", in_place)
    for producers in (1, 64):
        path = folder / "appends" / "ledger.sqlite"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            took, used = runner.run(append(path, producers, seconds))
        who = f"{producers} producers" if producers > 1 else "one producer"
        rate = len(took) / seconds
        centiles = statistics.quantiles(took, n=100)
        figures.add(f"appends a second, {who}", rate)
        figures.add(f"p50 in ms, {who}", centiles[49] * 1000)
        figures.add(f"p99 in ms, {who}", centiles[98] * 1000)
        figures.add(f"CPU µs an append, {who}", used / len(took) * 1e6)
        if producers == 1:
            figures.add("one producer, of fdatasync", rate / syncs)
            figures.add("one producer, of that in place", rate / in_place)
        for part in path.parent.iterdir():
            part.unlink()


def build(path: Path, count: int) -> None:
    """A log of ``count`` entries by the real writer, in large groups: half are intents, half their outcomes."""
    room = threading.Semaphore(4)
    failed: list[object] = []

    def deliver(results: Results) -> None:
        for _, result in results:
            if not isinstance(result, list):
                failed.append(result)
            room.release()

    keys = signing_keys()
    writer = LedgerWriter(path, deliver)
    origin = origin_of(keys.public_key)
    writer.sign_with(VerifierKey(origin, keys.public_key), keys.sign)
    writer.start()
    declared = make_draft(
        Event.LEDGER_CHECKPOINT, Phase.FACT, tenant="tenant", outcome="ok", details=keys.declaration()
    )
    first = 0
    while first < count:
        drafts = [] if first else [declared]
        for seq in range(first + len(drafts), min(first + GROUP, count)):
            phase, intent = (Phase.OUTCOME, seq - 1) if seq % 2 == 0 else (Phase.INTENT, None)
            about = ABOUT if intent is None else ABOUT | {"outcome": "ok", "details": {"status": 200}}
            drafts.append(make_draft(Event.PROXY_HTTP_REQUEST, phase, tenant="tenant", intent_seq=intent, **about))
        room.acquire()
        writer.submit(Append(tuple(drafts), None))
        first += len(drafts)
    writer.close()
    if failed:
        raise SystemExit(str(failed[0]))


def measure_log(path: Path, figures: Figures) -> None:
    """One round over a log that lies on the disk: verification, proofs, what a start reads."""
    began, used = time.perf_counter(), time.process_time()
    result = verify_ledger(path, {}).result
    seconds, used = time.perf_counter() - began, time.process_time() - used
    if result.fault is not None:
        raise SystemExit(result.reason)
    figures.add("verified a second", result.entries / seconds)
    figures.add("CPU µs an entry verified", used / result.entries * 1e6)
    took = []
    for _ in range(300):
        # Opened for each, as the proxy does.
        began = time.perf_counter()
        with LedgerReader(path) as reader:
            seq = random.randrange(result.entries)  # noqa: S311 - any entry will do
            proof = inclusion_proof(seq, result.entries, reader.tree.node)
            took.append(time.perf_counter() - began)
            verify_inclusion(reader.tree.node(0, seq), seq, result.entries, proof, result.root)
    centiles = statistics.quantiles(took, n=100)
    figures.add("proof in ms, p50", centiles[49] * 1000)
    figures.add("proof in ms, p99", centiles[98] * 1000)
    began = time.perf_counter()
    examine(path)
    figures.add("start, seconds: last epoch", time.perf_counter() - began)
    began = time.perf_counter()
    demand_signed_end(path)
    figures.add("start, seconds: signed end", time.perf_counter() - began)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast the ledger appends, verifies and proves.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the log that is verified and proven")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    figures = Figures()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for _ in range(wanted.rounds):
            measure_appends(folder, wanted.seconds, figures)
        if wanted.entries:
            path = folder / "log" / "ledger.sqlite"
            build(path, wanted.entries)
            for _ in range(wanted.rounds):
                measure_log(path, figures)
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [round(load, 1) for load in (before, os.getloadavg()[0])],
    }
    if wanted.json:
        print(json.dumps({"machine": machine, "figures": figures.found}))
    else:
        print(", ".join(f"{key} {value}" for key, value in machine.items()))
        print("\n".join(figures.lines()))
    names = [name for name in GOALS if name in figures.found]
    return int(any(GOALS[name].word(figures.best(name)) == "MISSED" for name in names))


if __name__ == "__main__":
    sys.exit(main())
