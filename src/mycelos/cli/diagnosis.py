"""What `mycelos doctor` looks at: one function for each thing that a machine or an installation can lack."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sqlite3
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from mycelos import __version__
from mycelos.cli.witness_words import in_words
from mycelos.configuration.file_modes import mode_faults
from mycelos.configuration.layout import DataLayout
from mycelos.ledger.checkpoint import CheckpointError, parse_text
from mycelos.ledger.signed_note import NoteError, parse_note
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.proxy.ledger.database import REBUILD, LedgerError
from mycelos.proxy.ledger.heads import COMMAND_LINE_OUTSIDE, PROXY_OUTSIDE, outside_of, remembered_heads
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.vault.installation import installation_of
from mycelos.sandbox import landlock
from mycelos.sandbox.errors import SandboxRefused
from mycelos.sandbox.mechanism import choose_sandbox, start_test
from mycelos.sandbox.plan import Mechanism
from mycelos.supervisor.code_age import RESTART, older_than_code
from mycelos.supervisor.state import read_state
from mycelos.wire.problems import Refusal
from mycelos.wire.witness import WitnessCondition

_LEAST_SPACE: Final = 64 * 1024 * 1024
_ENOUGH_SPACE: Final = 1024 * 1024 * 1024
_DOOR_SECONDS: Final = 5.0
_CLOCK_SLACK: Final = 120.0
"""Seconds by which the newest entry of the ledger may lie in the future."""


class State(StrEnum):
    """How a thing is. Without a wall nothing is started; what failed must be mended; a warning can be lived with."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    WALL_MISSING = "wall_missing"


@dataclass(frozen=True)
class Diagnosis:
    """One thing: how it is, and what to do where it is not well."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(layout: DataLayout) -> list[Diagnosis]:
    """Everything, in the order in which it is best mended."""
    checks: tuple[Callable[[DataLayout], list[Diagnosis]], ...] = (
        _versions,
        _seccomp,
        _landlock,
        _sandbox,
        _file_modes,
        _disk,
        _ledger,
        _heads_outside,
        _clock,
        _certificates,
        _routes,
        _processes,
        _lockdown,
        _witnesses,
    )
    return [diagnosis for check in checks for diagnosis in check(layout)]


def _versions(_layout: DataLayout) -> list[Diagnosis]:
    found = f"Mycelos {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
    found += f"{ssl.OPENSSL_VERSION}, Linux {platform.release()} ({platform.machine()})"
    if sys.version_info < (3, 11) or sqlite3.sqlite_version_info < (3, 37):
        return [Diagnosis("versions", State.FAILED, found, "Python 3.11 and SQLite 3.37 or newer are needed")]
    return [Diagnosis("versions", State.OK, found)]


def _seccomp(_layout: DataLayout) -> list[Diagnosis]:
    path = Path("/proc/sys/kernel/seccomp/actions_avail")
    actions = path.read_text(encoding="ascii").split() if path.exists() else []
    if "errno" in actions and "kill_process" in actions:
        return [Diagnosis("seccomp", State.OK, "filters can be loaded")]
    fix = "Use a kernel with CONFIG_SECCOMP_FILTER, as every distribution's is"
    return [Diagnosis("seccomp", State.WALL_MISSING, "the kernel knows no filters", fix)]


def _landlock(_layout: DataLayout) -> list[Diagnosis]:
    try:
        abi = landlock.require_abi(landlock.ABI_WITH_SCOPES)
    except SandboxRefused as refusal:
        return [Diagnosis(refusal.layer.value, State.WALL_MISSING, refusal.cause, refusal.fix)]
    return [Diagnosis("landlock", State.OK, f"ABI {abi}")]


def _sandbox(_layout: DataLayout) -> list[Diagnosis]:
    try:
        sandbox = choose_sandbox(start_test)
    except SandboxRefused as refusal:
        return [Diagnosis(refusal.layer.value, State.WALL_MISSING, refusal.cause, refusal.fix)]
    if sandbox.mechanism is Mechanism.BUBBLEWRAP:
        return [Diagnosis("sandbox", State.OK, "bubblewrap with namespaces, Landlock and seccomp inside")]
    fix = "It works so; for the second wall let this user make namespaces and install bubblewrap"
    return [Diagnosis("sandbox", State.WARNING, f"Landlock and seccomp alone: {sandbox.passed_over}", fix)]


def _file_modes(layout: DataLayout) -> list[Diagnosis]:
    if not layout.root.is_dir():
        return [Diagnosis("data folder", State.WARNING, f"there is no {layout.root}", "Make it with: mycelos init")]
    if not layout.master_key.exists() and "MYCELOS_MASTER_KEY" not in os.environ:
        missing = [Diagnosis("master key", State.WARNING, f"there is no {layout.master_key}", "Run: mycelos init")]
    else:
        missing = []
    faults = [Diagnosis("file modes", State.FAILED, fault.found, fault.fix) for fault in mode_faults(layout)]
    return [*missing, *faults] or [Diagnosis("file modes", State.OK, "what must be private is")]


def _disk(layout: DataLayout) -> list[Diagnosis]:
    place = next(path for path in (layout.root, *layout.root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free // (1024 * 1024):,} MiB free"
    fix = "Make room: without it nothing can be recorded, and what cannot be recorded is not done"
    if free < _LEAST_SPACE:
        return [Diagnosis("disk", State.FAILED, found, fix)]
    if free < _ENOUGH_SPACE:
        return [Diagnosis("disk", State.WARNING, found, fix)]
    return [Diagnosis("disk", State.OK, found)]


def _ledger(layout: DataLayout) -> list[Diagnosis]:
    if not layout.ledger.exists():
        return []
    try:
        with LedgerReader(layout.ledger) as reader:
            newest, changed = reader.newest(1), reader.schema_faults()
            fault = None if changed else reader.index_fault()
    except LedgerError as error:
        return [Diagnosis("ledger", State.FAILED, str(error), "Run: mycelos db audit verify")]
    if changed:
        found = f"its definition was changed: {', '.join(changed)}"
        return [Diagnosis("ledger", State.FAILED, found, REBUILD)]
    if fault is not None:
        return [Diagnosis("ledger", State.FAILED, f"entry {fault.seq}: {fault.what}", REBUILD)]
    return [Diagnosis("ledger", State.OK, f"{newest[-1].seq + 1:,} entries" if newest else "no entries yet")]


def _heads_outside(layout: DataLayout) -> list[Diagnosis]:
    installation = installation_of(layout.vault)
    if installation is None:
        if not layout.ledger.exists():
            return []
        found = f"the name in {layout.vault} cannot be read: what is remembered outside is not found"
        return [Diagnosis("remembered heads", State.WARNING, found, "Put back the newest copy of the data folder")]
    outside = outside_of(layout, os.environ, installation)
    lost = "an old copy of the whole data folder would not be noticed"
    if outside is None:
        fix = "Set HOME, or XDG_STATE_HOME to a folder that is not inside the data folder"
        return [Diagnosis("remembered heads", State.WARNING, f"there is no place for them outside: {lost}", fix)]
    remembered = remembered_heads(layout, outside)
    fix = f"Let the user who runs the system write to {outside.folder}, then start it"
    if {PROXY_OUTSIDE, COMMAND_LINE_OUTSIDE} & set(remembered.unreadable):
        found = f"what is remembered in {outside.folder} cannot be read: {lost}"
        return [Diagnosis("remembered heads", State.WARNING, found, fix)]
    note = remembered.notes.get(PROXY_OUTSIDE)
    if note is None:
        return [Diagnosis("remembered heads", State.WARNING, f"none in {outside.folder}: {lost}", fix)]
    try:
        size = parse_text(parse_note(note).text).size
    except (NoteError, CheckpointError):
        found = f"what the proxy remembers in {outside.folder} is no checkpoint: {lost}"
        return [Diagnosis("remembered heads", State.WARNING, found, fix)]
    found = f"a checkpoint of {size:,} entries is remembered in {outside.folder}"
    return [Diagnosis("remembered heads", State.OK, found)]


def _clock(layout: DataLayout) -> list[Diagnosis]:
    now = datetime.now(UTC)
    found = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    fix = "Set the clock, and keep it set (systemd-timesyncd or chrony): certificates are judged by it"
    built = Path(__file__).stat().st_mtime
    if time.time() < built - _CLOCK_SLACK:
        return [Diagnosis("clock", State.FAILED, f"{found}, before these files were made", fix)]
    try:
        with LedgerReader(layout.ledger) as reader:
            newest = reader.newest(1)
    except LedgerError:
        return [Diagnosis("clock", State.OK, found)]
    ahead = (datetime.fromisoformat(newest[-1].at) - now).total_seconds() if newest else 0.0
    if ahead > _CLOCK_SLACK:
        return [Diagnosis("clock", State.WARNING, f"{found}, before the ledger's newest entry", fix)]
    return [Diagnosis("clock", State.OK, found)]


def _certificates(_layout: DataLayout) -> list[Diagnosis]:
    count = len(ssl.create_default_context().get_ca_certs())
    paths = ssl.get_default_verify_paths()
    # A folder of certificates is read when one is looked for: nothing is loaded before.
    folder = Path(paths.openssl_capath)
    has_folder = folder.is_dir() and any(folder.iterdir())
    if count or has_folder:
        return [Diagnosis("certificates", State.OK, f"roots from {paths.cafile if count else folder}")]
    fix = "Install them: apt install ca-certificates"
    return [Diagnosis("certificates", State.FAILED, "no certificate authority is trusted here", fix)]


def _routes(_layout: DataLayout) -> list[Diagnosis]:
    fix = "Without one only this machine is reached; models on it work (mycelos local install)"
    gateways = _default_gateways(Path("/proc/net/route"))
    has_resolver = "nameserver" in _text_of(Path("/etc/resolv.conf"))
    if not gateways:
        return [Diagnosis("routes", State.WARNING, "there is no default route by IPv4", fix)]
    found = f"default route by {', '.join(gateways)}"
    if not has_resolver:
        return [Diagnosis("routes", State.WARNING, f"{found}; no name server", "Name one in /etc/resolv.conf")]
    return [Diagnosis("routes", State.OK, found)]


def _default_gateways(table: Path) -> list[str]:
    rows = [line.split() for line in _text_of(table).splitlines()[1:]]
    # The kernel writes addresses in the machine's own byte order.
    words = [int(row[2], 16) for row in rows if len(row) > 2 and row[1] == "00000000"]
    return [socket.inet_ntoa(struct.pack("=L", word)) for word in words]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _processes(layout: DataLayout) -> list[Diagnosis]:
    try:
        state = read_state(layout)
    except (OSError, msgspec.DecodeError):
        found = f"{layout.supervisor_state} is not what this version writes"
        return [Diagnosis("processes", State.FAILED, found, "Stop the system, remove that file, start again")]
    if state is None:
        return [Diagnosis("processes", State.OK, "nothing runs in this data folder")]
    down = [child.name for child in state.children if not child.ready]
    restarted = [f"{child.name} ({child.restarts})" for child in state.children if child.restarts]
    if down:
        return [Diagnosis("processes", State.FAILED, f"not ready: {', '.join(down)}", "See the log of mycelos serve")]
    if older := older_than_code(state):
        found = f"started before the installed code was last changed: {', '.join(older)}"
        return [Diagnosis("processes", State.WARNING, found, RESTART)]
    if restarted:
        found = f"started again after a crash: {', '.join(restarted)}"
        return [Diagnosis("processes", State.WARNING, found, "See the log of mycelos serve, and mycelos db audit")]
    return [Diagnosis("processes", State.OK, f"{len(state.children)} run")]


def _lockdown(layout: DataLayout) -> list[Diagnosis]:
    try:
        state = OperatorClient(layout, timeout=_DOOR_SECONDS).status().lockdown
    except (OperatorUnavailableError, Refusal):
        return []
    if not state.locked:
        return [Diagnosis("egress", State.OK, "not locked down")]
    since = f"since {state.since}" if state.since else "and the record of it was altered outside Mycelos"
    return [Diagnosis("egress", State.WARNING, f"locked down {since}", "Lift it with: mycelos lockdown --lift")]


_WITNESS_FIXES: Final = {
    WitnessCondition.FAILS: (State.WARNING, "Look at the witness: what is recorded meanwhile, it does not know"),
    WitnessCondition.DISAGREES: (
        State.FAILED,
        "See what was cut or rewritten with: mycelos db audit verify",
    ),
    WitnessCondition.LOCKED: (State.WARNING, "Lift the lockdown with: mycelos lockdown --lift"),
}


def _witnesses(layout: DataLayout) -> list[Diagnosis]:
    try:
        witnesses = OperatorClient(layout, timeout=_DOOR_SECONDS).status().witnesses
    except (OperatorUnavailableError, Refusal):
        return []
    now = datetime.now(UTC)
    return [
        Diagnosis("witness", state, in_words(witness, now), fix)
        for witness in witnesses
        for state, fix in [_WITNESS_FIXES.get(witness.condition, (State.OK, ""))]
    ]
