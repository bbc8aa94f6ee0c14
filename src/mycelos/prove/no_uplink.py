"""Runs a probe where no packet can leave this machine: in a network namespace that has only loopback."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.sandbox.bubblewrap import find_bubblewrap, started_as_root
from mycelos.sandbox.errors import SandboxRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS: Final = 120.0


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the process inside says: its findings, or why nothing can be shown."""

    findings: tuple[Finding, ...] = ()
    obstacle: str = ""


def run_without_uplink(module: str) -> list[Finding]:
    """What ``module.attack()`` finds in a process that has only loopback.

    Raises:
        CannotShowError: there is no such namespace to be had here, or the attack itself says so.
    """
    try:
        program = find_bubblewrap()
    except SandboxRefused as refused:
        message = f"{refused}; without it the probe could send a packet to the outside"
        raise CannotShowError(message) from None
    user = [] if started_as_root() else ["--unshare-user"]
    command = [program, "--dev-bind", "/", "/", "--unshare-net", *user, "--die-with-parent", "--",
               sys.executable, "-I", "-m", __name__, module]  # fmt: skip
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
        report = msgspec.json.decode(ended.stdout, type=Report)
    except (subprocess.TimeoutExpired, msgspec.DecodeError):
        message = "a process without uplink does not end well here; see: mycelos doctor"
        raise CannotShowError(message) from None
    if report.obstacle:
        raise CannotShowError(report.obstacle)
    return list(report.findings)


def demand_no_uplink(address: str) -> None:
    """Nothing is sent: the kernel is asked for a route to ``address``, and must have none.

    Raises:
        CannotShowError: it has one.
    """
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as question:
        try:
            question.connect((address, 9))
        except OSError:
            return
    message = "this process has a way to the outside, and the probe would use it"
    raise CannotShowError(message)


def main(arguments: Sequence[str]) -> int:
    """Inside: run the attack and print the report."""
    (module,) = arguments
    try:
        report = Report(tuple(importlib.import_module(module).attack()))
    except CannotShowError as error:
        report = Report(obstacle=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
