# ruff: noqa: INP001, T201 - a script that talks to a person
"""How fast the vault rotates its master key and opens a record: `python benchmarks/vault.py [RECORDS]`.

It works in a new folder of the disk that it stands on and removes it; nothing is written elsewhere. The rotation is the
operator's own, with every row verified before the commit. CPU seconds are those of the whole process, wall seconds
include the disk. Two gates are named beside what was measured, and the exit code is 1 where one of them is missed.
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

import cryptography

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.key_rotation import SIGNED
from mycelos.proxy.vault import envelope, records
from mycelos.proxy.vault.keys import create_master_key, load_master_key
from mycelos.proxy.vault.rotation import MasterKeyRotation
from mycelos.proxy.vault.slots import new_identifier, system_clock, timestamp
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind

ROTATION_SECONDS = 5.0
OPEN_SECONDS = 100e-6
BINDING = Binding(
    v=1, scheme="https", host="api.example.com", port=443, methods=(Method.GET,), path=("v1",), query="any",
    inject=Bearer(), response=ResponseRule(set_cookie="drop", location_query="redact"), confirm=False, quota=None,
)  # fmt: skip


def fill(vault: Vault, count: int) -> None:
    """Store so many credentials in one transaction."""
    bindings = envelope.canonical_bindings((BINDING,))

    def work(connection: object) -> None:
        for number in range(count):
            sealed = envelope.seal_record(
                vault.keys.slot,
                tenant_id=DEFAULT_TENANT,
                record_id=new_identifier(Kind.CREDENTIAL, system_clock, os.urandom),
                version=1,
                service=f"service-{number}",
                label=f"service {number}",
                bindings=bindings,
                secret=os.urandom(20).hex().encode(),
                randomness=os.urandom,
            )
            records.insert_record(connection, vault.keys.slot, sealed, timestamp(system_clock()))

    vault.database.run_now(work)
    vault.adopt(*vault.database.run_now(vault.read))


def time_opening(vault: Vault) -> list[float]:
    """CPU seconds for each record to be opened and revealed, as a request does it."""
    took = []
    for credential in vault.list():
        began = time.thread_time()
        with vault.open_secret(credential) as secret:
            secret.reveal()
        took.append(time.thread_time() - began)
    return took


def report(folder: Path, count: int) -> bool:
    """Measure and print; whether both gates hold."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, cryptography {cryptography.__version__}, load {os.getloadavg()[0]:.1f}"
    )
    layout = DataLayout(folder / "data")
    create_master_key(layout)
    vault = Vault.open(layout, load_master_key(layout, None))
    try:
        fill(vault, count)
        rotation = MasterKeyRotation(vault, layout, SIGNED)
        walls = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            done = asyncio.run(vault.database.alone(rotation.run))
            walls.append(time.perf_counter() - wall)
            print(f"rotation      {done.records:,} records   {walls[-1]:.2f} s   {time.process_time() - cpu:.2f} s CPU")
    finally:
        vault.close()
    median = 0.0
    vault = Vault.open(layout, load_master_key(layout, None))
    try:
        # The first time, what a seal binds is computed; it is kept for the next time, the secret is not.
        for when in ("first", "again"):
            centiles = statistics.quantiles(time_opening(vault), n=100)
            median = max(median, centiles[49])
            print(f"open a record {when}   p50 {centiles[49] * 1e6:.0f} µs CPU   p99 {centiles[98] * 1e6:.0f} µs CPU")
    finally:
        vault.close()
    slowest = max(walls)
    print(f"gates         rotation {slowest:.2f} of {ROTATION_SECONDS} s   opening {median * 1e6:.0f} of 100 µs")
    return slowest <= ROTATION_SECONDS and median <= OPEN_SECONDS


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as name:
        sys.exit(0 if report(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) else 1)
