from __future__ import annotations

import os

import pytest

from mycelos.prove.installation import Installation, find_installation
from mycelos.prove.outcome import CannotShowError
from mycelos.supervisor.state import ChildState, SupervisorState, boot_id, start_ticks, write_state


def state(pid, *children):
    ticks = start_ticks(pid) or 0
    return SupervisorState(1, pid, ticks, boot_id(), "", "127.0.0.1", 9100, 9101, "", "", children)


def test_where_nothing_runs_a_live_probe_says_so(layout):
    found = find_installation(layout)
    assert found.state is None
    with pytest.raises(CannotShowError, match="mycelos serve"):
        found.process("gateway")


def test_the_running_supervisor_s_processes_are_found_by_name(layout):
    layout.run.mkdir()
    write_state(layout, state(os.getpid(), ChildState("gateway", 42, True, 0), ChildState("proxy", None, False, 3)))
    found = find_installation(layout)
    assert found.process("gateway") == 42
    with pytest.raises(CannotShowError, match="proxy does not run"):
        found.process("proxy")


def test_a_state_file_that_cannot_be_read_is_not_taken_for_a_stopped_system(layout):
    layout.run.mkdir()
    layout.supervisor_state.write_text("{")
    with pytest.raises(CannotShowError, match="cannot be read"):
        find_installation(layout)


def test_an_installation_without_a_state_does_not_run(layout):
    with pytest.raises(CannotShowError):
        Installation(layout, None).running()
