"""Who may open what lies in the data folder: `mycelos doctor` and `mycelos prove` ask here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mycelos.configuration.layout import DataLayout

_OF_OTHERS: Final = 0o077
_WRITING_OF_OTHERS: Final = 0o022
_DATABASE_SUFFIXES: Final = ("-wal", "-shm", "-journal", ".lock")
"""What SQLite and the proxy keep beside a database; the first ones hold pages of it."""

_AS_OWNER: Final = "Run this as the user who started the system"


@dataclass(frozen=True)
class ModeFault:
    """One path that somebody else can open, replace or own, and what to do about it."""

    found: str
    fix: str


def private_paths(layout: DataLayout) -> tuple[Path, ...]:
    """Everything that its owner alone may open, whether it is there or not."""
    databases = (layout.vault, layout.ledger, layout.gateway_database)
    return (
        layout.master_key, layout.master_key_next, layout.master_key_draft, layout.proxy_token, layout.operator_file,
        layout.proxy, layout.operator_token, layout.operator_socket, layout.gateway, layout.command_line_token,
        layout.gateway_head, layout.command_line_head, layout.run, layout.supervisor_state,
        *(Path(f"{database}{suffix}") for database in databases for suffix in ("", *_DATABASE_SUFFIXES)),
    )  # fmt: skip


def mode_faults(layout: DataLayout) -> list[ModeFault]:
    """What is wrong with modes and owners below the data folder, the folder itself first."""
    try:
        owner = layout.root.stat().st_uid
    except FileNotFoundError:
        return []
    except PermissionError:
        return [ModeFault(f"{layout.root} belongs to somebody else", _AS_OWNER)]
    owners = {owner, os.geteuid()}
    faults = list(_faults(layout.root, _WRITING_OF_OTHERS, owners))
    for path in private_paths(layout):
        faults += _faults(path, _OF_OTHERS, owners)
    return faults


def _faults(path: Path, forbidden: int, owners: set[int]) -> Iterator[ModeFault]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except PermissionError:
        yield ModeFault(f"{path} belongs to somebody else", _AS_OWNER)
        return
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        yield ModeFault(f"{path} is a link", "Put the file itself in its place")
        return
    if status.st_uid not in owners:
        yield ModeFault(f"{path} belongs to user {status.st_uid}", f"chown {min(owners)} {path}")
    if mode & forbidden:
        what = "open" if forbidden == _OF_OTHERS else "write to"
        yield ModeFault(f"other users can {what} {path} (mode {mode:04o})", f"chmod {mode & ~forbidden:o} {path}")
