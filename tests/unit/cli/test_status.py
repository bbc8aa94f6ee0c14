from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest
from scripted_gateway import running_state

from mycelos.cli import status
from mycelos.supervisor.state import read_state, start_ticks, write_state
from mycelos.wire.operator import SetWeb
from mycelos.wire.witness import WitnessCondition, WitnessStatus


def test_without_a_system_it_says_so_and_fails(mycelos, layout) -> None:
    code, _, err = mycelos("status")
    assert code == 1
    assert "mycelos serve" in err
    code, out, _ = mycelos("status", "--json")
    assert code == 1
    assert json.loads(out) == {"running": False, "healthy": False, "data_directory": str(layout.root)}


def test_a_healthy_system_is_exit_code_zero_with_processes_memory_and_addresses(mycelos, gateway) -> None:
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    code, out, _ = mycelos("status", "--json")
    report = json.loads(out)
    assert (code, report["healthy"]) == (0, True)
    assert [process["name"] for process in report["processes"]] == ["supervisor", "proxy", "gateway"]
    assert report["processes"][0]["resident_mib"] > 1
    assert report["processes"][1]["restarts"] == 2
    code, out, _ = mycelos("status")
    assert code == 0
    assert f"http://localhost:{gateway.port} (answers)" in out


def test_it_says_that_the_proxy_does_not_answer(mycelos, gateway) -> None:
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    report = json.loads(mycelos("status", "--json")[1])
    assert (report["locked_down"], report["web"]) == (None, None)
    assert "unknown: the proxy does not answer" in mycelos("status")[1]


def test_it_says_that_egress_is_locked_down_and_how_web_was_answered(mycelos, gateway, operator_system) -> None:
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    assert "web: not answered yet (off)" in mycelos("status")[1]
    operator_system.client.egress_rules(SetWeb(enabled=True))
    assert "web: on" in mycelos("status")[1]
    since = operator_system.client.set_lockdown(enabled=True).since
    code, out, _ = mycelos("status")
    assert code == 0
    assert f"LOCKED DOWN since {since}; lift it with: mycelos lockdown --lift" in out
    report = json.loads(mycelos("status", "--json")[1])
    assert (report["locked_down"], report["locked_down_since"], report["web"]) == (True, since, "on")


def test_a_page_that_does_not_answer_is_not_healthy(mycelos, gateway) -> None:
    code, out, _ = mycelos("status")
    assert code == 1
    assert "does not answer" in out


def test_a_process_that_is_not_ready_is_not_healthy(mycelos, gateway, layout) -> None:
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    state = read_state(layout)
    assert state is not None
    waiting = tuple(msgspec.structs.replace(child, ready=False) for child in state.children)
    write_state(layout, msgspec.structs.replace(state, children=waiting))
    assert mycelos("status")[0] == 1


@pytest.fixture
def sleeper(layout):
    """A process in the supervisor's place, which this test's process need not reap."""
    layout.run.mkdir(exist_ok=True)
    script = "import signal; print('up', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        state = running_state(9100)
        write_state(layout, msgspec.structs.replace(state, pid=process.pid, start_ticks=start_ticks(process.pid) or 0))
        yield process
        process.kill()


def test_stop_ends_the_supervisor_and_waits_for_its_end(mycelos, sleeper) -> None:
    assert mycelos("stop")[:2] == (0, "stopped\n")
    assert sleeper.wait(0) == -signal.SIGTERM
    assert mycelos("stop")[0] == 1


def test_stop_never_signals_a_later_process_with_the_same_number(mycelos, layout, sleeper) -> None:
    state = read_state(layout)
    assert state is not None
    write_state(layout, msgspec.structs.replace(state, start_ticks=state.start_ticks - 1))
    assert mycelos("stop")[0] == 1
    assert sleeper.poll() is None


def test_stop_says_when_the_supervisor_does_not_end(mycelos, layout, monkeypatch) -> None:
    layout.run.mkdir(exist_ok=True)
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = start_ticks(process.pid) or 0
        write_state(layout, msgspec.structs.replace(running_state(9100), pid=process.pid, start_ticks=ticks))
        monkeypatch.setattr(status, "_STOP_SECONDS", 0)
        code, _, err = mycelos("stop")
        os.kill(process.pid, signal.SIGKILL)
    assert code == 1
    assert "has not ended" in err


def test_it_says_how_old_the_newest_word_of_each_witness_is(mycelos, gateway, operator_system) -> None:
    gateway.answers["GET /healthz"] = (200, {"status": "ok"})
    assert "witness" not in mycelos("status")[1]
    operator_system.witnesses = (
        WitnessStatus(place="/mnt/notes", condition=WitnessCondition.TAKES, size=7, at="2026-01-01T00:00:00Z"),
        WitnessStatus(place="https://w/", condition=WitnessCondition.FAILS, code="unreachable", reason="away"),
    )
    out = mycelos("status")[1]
    assert "witness     /mnt/notes has 7 entries, the newest taken " in out
    assert "witness     https://w/ has taken nothing yet; FAILS: away" in out
    shown = json.loads(mycelos("status", "--json")[1])["witnesses"]
    assert [witness["condition"] for witness in shown] == ["takes", "fails"]
