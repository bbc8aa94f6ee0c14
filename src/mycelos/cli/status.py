"""`mycelos status` and `mycelos stop`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.gateway_client import client_of, not_running, running_state
from mycelos.cli.output import CommandError, ExitCode, print_json, print_table
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.state import SupervisorState, start_ticks

_STOP_SECONDS: Final = 45
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
    print("stopped")
    return ExitCode.DONE


def _report(layout: DataLayout, state: SupervisorState) -> dict[str, Any]:
    processes = [{"name": "supervisor", "pid": state.pid, "ready": True, "restarts": 0}]
    processes += [
        {"name": child.name, "pid": child.pid, "ready": child.ready, "restarts": child.restarts}
        for child in state.children
    ]
    for process in processes:
        process["resident_mib"] = _resident_mib(process["pid"])
    answers = client_of(layout, state).is_healthy()
    return {
        "running": True,
        "healthy": answers and all(process["ready"] for process in processes),
        "data_directory": str(layout.root),
        "started_at": state.started_at,
        "page": state.page_url,
        "page_answers": answers,
        "vault_page": state.operator_url,
        "processes": processes,
    }


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
            "up" if process["ready"] else "starting",
            str(process["restarts"]),
            f"{process['resident_mib']} MB" if process["resident_mib"] is not None else "-",
        )
        for process in report["processes"]
    ]
    print_table(("process", "pid", "state", "restarts", "memory"), rows)
    print(f"page        {report['page']} ({'answers' if report['page_answers'] else 'does not answer'})")
    print(f"vault page  {report['vault_page']}")
    print(f"data        {report['data_directory']}, started {report['started_at']}")
