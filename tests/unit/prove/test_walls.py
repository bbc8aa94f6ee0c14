from __future__ import annotations

import os

import pytest

from mycelos.prove import walls
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.probe import ProbeReport, ProbeResult
from mycelos.sandbox.profiles import AGENT
from mycelos.supervisor.state import ChildState, SupervisorState


def report(*results):
    return ProbeReport("agent", "landlock", "", tuple(results))


def attack(name, *, held=True, promised=True):
    return ProbeResult(name, f"does {name}", held, promised, "EPERM" if held else "it did")


def running(layout, **pids):
    children = tuple(ChildState(name, pid, True, 0) for name, pid in pids.items())
    return Installation(layout, SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, 1, "", "", children))


def test_what_held_is_one_finding_and_what_did_not_is_one_each(monkeypatch, layout):
    made = report(attack("a"), attack("b", held=False, promised=False), attack("c", held=False, promised=True))
    monkeypatch.setattr(walls, "run_probes", lambda profile: made if profile is AGENT else report(attack("d")))
    first, second, of_programs = walls.probe_sandbox(Installation(layout, None))
    assert first.held
    assert "1 refused; open by design: c" in first.happened
    assert (second.tried, second.held) == ("a run, confined, does b", False)
    assert (of_programs.tried, of_programs.held) == ("1 attacks from a process confined like a program", True)


def test_a_report_in_which_nothing_held_shows_nothing(monkeypatch, layout):
    monkeypatch.setattr(walls, "run_probes", lambda _: report(attack("c", held=False, promised=True)))
    assert [finding.held for finding in walls.probe_sandbox(Installation(layout, None))] == [False, False]


def test_a_missing_wall_is_named_with_its_fix(monkeypatch, layout):
    def refuse(_):
        raise SandboxRefused(Layer.SECCOMP, "no filters", "Use another kernel")

    monkeypatch.setattr(walls, "run_probes", refuse)
    findings = walls.probe_sandbox(Installation(layout, None))
    assert len(findings) == 2
    for finding in findings:
        assert not finding.held
        assert "seccomp is missing: no filters. Use another kernel" in finding.happened


def test_a_master_key_in_a_process_s_environment_is_seen(layout, monkeypatch):
    own = os.getpid()
    monkeypatch.setattr(walls, "gateway_probes", lambda _: report(attack("read-kept"), attack("connect-kept")))
    real = walls.Path.read_bytes
    monkeypatch.setattr(
        walls.Path,
        "read_bytes",
        lambda path: b"A=1\0MYCELOS_MASTER_KEY=x\0" if path.name == "environ" else real(path),
    )
    findings = walls.probe_key_from_gateway(running(layout, gateway=own, operator=own, spawner=own))
    assert [finding.held for finding in findings] == [True, True, False, False, False]
    assert "MYCELOS_MASTER_KEY" in findings[-1].happened
    assert "=x" not in findings[-1].happened


def test_an_unconfined_process_is_not_taken_for_a_confined_one(layout, monkeypatch):
    monkeypatch.setattr(walls, "gateway_probes", lambda _: report(attack("a")))
    findings = walls.probe_gateway_walls(running(layout, gateway=os.getpid(), operator=os.getpid()))
    assert [finding.held for finding in findings] == [True, False, False]


def test_a_process_that_has_gone_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(walls, "gateway_probes", lambda _: report(attack("a")))
    with pytest.raises(CannotShowError, match="ended"):
        walls.probe_gateway_walls(running(layout, gateway=2**22 + 1, operator=os.getpid()))
