"""D2: the proxy that runs, which keeps the key: its files, its memory, and the operator's door before it."""

from __future__ import annotations

import http.client
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.file_modes import mode_faults, private_paths
from mycelos.configuration.plain_file import read_plain_file
from mycelos.operator.client import OperatorClient, UnixConnection
from mycelos.prove import walls
from mycelos.prove.outcome import CannotShowError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mycelos.configuration.layout import DataLayout
    from mycelos.prove.installation import Installation

_SECONDS: Final = 20.0
_TOKEN_FILE_LIMIT: Final = 1024
_LOOK: Final = "/status"
"""A route of the operator's door that changes nothing."""
_MADE_UP: Final = "x" * 43
_UNAUTHORIZED: Final = 401


def probe_keeper(installation: Installation) -> list[Finding]:
    """D2: from a process confined like the gateway; then as another user, as another program, and at the door."""
    return [
        *walls.probe_key_from_gateway(installation),
        private_files(installation.layout),
        *memory(installation.process("proxy")),
        *operator_door(installation.layout),
    ]


def private_files(layout: DataLayout) -> Finding:
    """Modes and owners, as `mycelos doctor` looks at them."""
    faults = mode_faults(layout)
    there = sum(path.exists() for path in private_paths(layout))
    happened = "; ".join(f"{fault.found}, mend it with: {fault.fix}" for fault in faults)
    return Finding("open, replace or own what is private in the data folder as another user",
                   happened or f"{there} paths, each for its owner alone", held=not faults)  # fmt: skip


def memory(pid: int) -> Iterator[Finding]:
    """What the kernel says of core dumps and of reading the memory of the process (proc_pid(5), prctl(2))."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8", errors="replace")
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        owner = Path(f"/proc/{pid}/environ").stat().st_uid
    except OSError:
        message = "the proxy ended while it was looked at; see: mycelos status"
        raise CannotShowError(message) from None
    core = re.search(r"^Max core file size\s+(\S+)\s+(\S+)", limits, re.MULTILINE)
    user = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    if core is None or user is None:
        message = "the kernel says nothing of the proxy's limits or of its user"
        raise CannotShowError(message)
    is_root = user[1] == "0"
    # The kernel gives the files of a process that is not dumpable to root: of root's own they say nothing.
    unsaid = "; as it runs as root, whether its memory can be read cannot be told from outside" if is_root else ""
    happened = f"core dumps of {core[1]} bytes, at most {core[2]}{unsaid}"
    yield Finding("have the kernel write the proxy's memory down when it crashes", happened,
                  held=core.groups() == ("0", "0"))  # fmt: skip
    if not is_root:
        happened = "the kernel keeps it from programs of its user" if owner == 0 else "it is dumpable: they may"
        yield Finding("read the proxy's memory as another program of its user", happened, held=owner == 0)


def operator_door(layout: DataLayout) -> list[Finding]:
    """Everything that is no token of the operator's. Each refusal is on record as `proxy.auth_failed`.

    Raises:
        OperatorUnavailableError: the operator does not get in either.
    """
    OperatorClient(layout).status()
    wrong = {
        "without a token": {},
        "with a made-up token": {"Authorization": f"Bearer {_MADE_UP}"},
        "with a token of another kind": {"Authorization": "Basic b3BlcmF0b3I6"},
    }
    bearer = _text_of(layout.proxy_token)
    if bearer:
        wrong["with the gateway's bearer"] = {"Authorization": f"Bearer {bearer}"}
    # What its holder may open is no way in; what anybody else could is looked at with the files.
    statuses = {how: _knock(layout, headers) for how, headers in wrong.items()}
    return [
        Finding(f"open the operator's door {how}", f"status {status}", held=status == _UNAUTHORIZED)
        for how, status in statuses.items()
    ]


def _text_of(path: Path) -> str:
    """Empty where the bearer came from the environment of the system, and is in no file."""
    try:
        return read_plain_file(path, _TOKEN_FILE_LIMIT).decode("ascii").strip()
    except FileNotFoundError:
        return ""


def _knock(layout: DataLayout, headers: Mapping[str, str]) -> int:
    connection = UnixConnection(str(layout.operator_socket), _SECONDS)
    try:
        connection.request("GET", _LOOK, headers=dict(headers))
        return connection.getresponse().status
    except http.client.HTTPException as error:
        message = f"the operator's door does not answer ({type(error).__name__})"
        raise CannotShowError(message) from None
    finally:
        connection.close()
