"""`mycelos status` and `mycelos stop`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.egress import WEB
from mycelos.cli.gateway_client import client_of, is_down, not_running, running_state
from mycelos.cli.output import CommandError, ExitCode, print_json, print_table, say
from mycelos.cli.witness_words import in_words
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.supervisor.state import SupervisorState, start_ticks
from mycelos.wire.operator import DoorStatus, WebAnswer
from mycelos.wire.problems import Refusal
from mycelos.wire.witness import WitnessStatus

_STOP_SECONDS: Final = 45
_DOOR_SECONDS: Final = 5.0
_KIB_PER_MIB: Final = 1024


def status(*, as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False) -> int:
    """Show the processes, their memory and the addresses. Exit code 0 only when all are up and the page answers.

    Example: mycelos status --json
    """
    layout = DataLayout(settings_of(os.environ).data_directory)
    state = running_state(layout)
    if state is None:
        if as_json:
            print_json({"running": False, "healthy": False, "data_directory": str(layout.root)})
            return ExitCode.FAILED
        raise not_running(layout)
    report = _report(layout, state)
    if as_json:
        print_json(report)
    else:
        _show(report)
    return ExitCode.DONE if report["healthy"] else ExitCode.FAILED


def stop() -> int:
    """End the running system: the pages first, the proxy last.

    Example: mycelos stop
    """
    layout = DataLayout(settings_of(os.environ).data_directory)
    state = running_state(layout)
    if state is None:
        raise not_running(layout)
    try:
        descriptor = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise not_running(layout) from None
    try:
        # The descriptor names one process for good; only now is it certain that it is the one of the state file.
        if start_ticks(state.pid) != state.start_ticks:
            raise not_running(layout)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_STOP_SECONDS * 1000):
            message = f"Process {state.pid} has not ended after {_STOP_SECONDS} seconds."
            raise CommandError(message, "See its log, or end it by hand.")
    except PermissionError:
        message = f"Process {state.pid} belongs to another user."
        raise CommandError(message, "Use the user that runs Mycelos.") from None
    finally:
        os.close(descriptor)
    say("stopped")
    return ExitCode.DONE


def _report(layout: DataLayout, state: SupervisorState) -> dict[str, Any]:
    processes = [{"name": "supervisor", "pid": state.pid, "ready": True, "restarts": 0}]
    processes += [
        {"name": child.name, "pid": child.pid, "ready": child.ready, "restarts": child.restarts}
        for child in state.children
    ]
    for process in processes:
        process["resident_mib"] = _resident_mib(process["pid"])
    answers = not is_down(state) and client_of(layout, state).is_healthy()
    door = _door_status(layout)
    return {
        "running": True,
        "healthy": answers and all(process["ready"] for process in processes),
        "data_directory": str(layout.root),
        "started_at": state.started_at,
        "page": state.page_url,
        "page_answers": answers,
        "vault_page": state.operator_url,
        "locked_down": None if door is None else door.lockdown.locked,
        "locked_down_since": None if door is None else door.lockdown.since,
        "web": None if door is None else door.web.value,
        "witnesses": [] if door is None else [msgspec.to_builtins(witness) for witness in door.witnesses],
        "processes": processes,
    }


def _door_status(layout: DataLayout) -> DoorStatus | None:
    """What the proxy says of itself; None where it says nothing to this user."""
    try:
        return OperatorClient(layout, timeout=_DOOR_SECONDS).status()
    except (OperatorUnavailableError, Refusal):
        return None


def _resident_mib(pid: Any) -> float | None:
    if pid is None:
        return None
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / _KIB_PER_MIB, 1)
    return None


def _show(report: dict[str, Any]) -> None:
    rows = [
        (
            process["name"],
            str(process["pid"] or "-"),
            "up" if process["ready"] else "starting" if process["pid"] else "down",
            str(process["restarts"]),
            f"{process['resident_mib']} MB" if process["resident_mib"] is not None else "-",
        )
        for process in report["processes"]
    ]
    print_table(("process", "pid", "state", "restarts", "memory"), rows)
    say(f"page        {report['page']} ({'answers' if report['page_answers'] else 'does not answer'})")
    say(f"vault page  {report['vault_page']}")
    say(f"egress      {_egress(report)}")
    for witness in report["witnesses"]:
        say(f"witness     {in_words(msgspec.convert(witness, WitnessStatus), datetime.now(UTC))}")
    say(f"data        {report['data_directory']}, started {report['started_at']}")


def _egress(report: dict[str, Any]) -> str:
    if report["web"] is None:
        return "unknown: the proxy does not answer"
    if report["locked_down"]:
        since = report["locked_down_since"] or "an unknown time"
        return f"LOCKED DOWN since {since}; lift it with: mycelos lockdown --lift"
    return f"by credentials and rules; web: {WEB[WebAnswer(report['web'])]}"
