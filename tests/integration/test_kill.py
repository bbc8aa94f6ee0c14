"""kill -9 of each process in the middle of a run: it comes back, the ledger verifies, the page tells what happened."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from running_system import RunningSystem, running_system, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def killed_system(module_data: Path) -> Iterator[RunningSystem]:
    with running_system(module_data) as running:
        running.furnish("github.read")
        yield running


def run_in_the_middle(system: RunningSystem) -> str:
    """A run whose model has begun to write and will not go on by itself."""
    run = system.begin("hang")
    with contextlib.suppress(httpx2.TransportError):
        for event in system.follow(run):
            if event["kind"] == "token":
                break
    return run


def descendants(pid: int) -> set[int]:
    """The process and all below it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for child in (task / "children").read_text().split():
                found |= descendants(int(child))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("name", ["proxy", "operator", "spawner", "gateway"])
def test_a_killed_process_comes_back_and_the_run_ends_with_a_reason(killed_system: RunningSystem, name: str) -> None:
    system = killed_system
    run = run_in_the_middle(system)
    pid = system.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.pid(name) not in {pid, None} and system.is_healthy(), f"{name} comes back")
    if name == "operator":
        # The vault page has no part in a run: it goes on until a person ends it.
        assert system.api("POST", f"/api/runs/{run}/cancel") == {"cancelled": True}
    end = wait_until(lambda: (list(system.follow(run)) or [None])[-1], "the run's end")
    assert end["kind"] == "error", end
    assert end["detail"]
    assert system.ask("what are the open issues?")[-1]["kind"] == "done"
    done = system.mycelos("db", "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_killed_runner_is_told_to_the_person(killed_system: RunningSystem) -> None:
    system = killed_system
    run = run_in_the_middle(system)
    spawner = system.pid("spawner")
    assert spawner
    runners = descendants(spawner) - {spawner}
    assert runners
    for pid in runners:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = list(system.follow(run))[-1]
    assert end["kind"] == "error"
    assert end["detail"]


def test_cancelling_a_run_leaves_no_process_of_it(killed_system: RunningSystem) -> None:
    system = killed_system
    run = run_in_the_middle(system)
    spawner = system.pid("spawner")
    assert spawner
    runners = descendants(spawner) - {spawner}
    assert runners
    system.api("POST", f"/api/runs/{run}/cancel")
    wait_until(lambda: not any(map(is_alive, runners)), "the run's processes end")
    end = list(system.follow(run))[-1]
    assert (end["kind"], end["code"]) == ("error", "cancelled")


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_tells_what_happened(
    killed_system: RunningSystem,
) -> None:
    system = killed_system
    run = run_in_the_middle(system)
    assert system.supervisor
    everything = descendants(system.supervisor.pid)
    assert len(everything) > 5
    system.supervisor.kill()
    system.supervisor.wait(20)
    wait_until(lambda: not any(map(is_alive, everything)), "all processes end")
    system.start()
    end = list(system.follow(run))[-1]
    assert end["kind"] == "error"
    assert end["detail"]
    assert system.mycelos("db", "audit", "verify").returncode == 0
    assert "run.failed" in {entry["event"] for entry in system.audit(run=run)}
