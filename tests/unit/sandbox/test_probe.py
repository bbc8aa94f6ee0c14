import subprocess
from pathlib import Path

import pytest
from sandbox_machine import as_ordinary_user, on_machine, readable_to_all
from sandbox_run import sandbox

from mycelos.sandbox import probe
from mycelos.sandbox.attacks import AGENT_ATTACKS, GATEWAY_ATTACKS, TOOLS_ATTACKS
from mycelos.sandbox.attempt import Outcome
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import Mechanism

COMMAND = ("sandbox_cli", "probe")


def on(
    *arguments: str, without: tuple[str, ...] = (), wrap=lambda command: command
) -> subprocess.CompletedProcess[str]:
    command = wrap(on_machine(*COMMAND, *arguments, without=without))
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_every_attack_on_a_run_is_held_off_here() -> None:
    report = probe.run_probes()
    assert report.holds
    assert [result.name for result in report.results] == [attack.name for attack in AGENT_ATTACKS]
    assert all(result.held for result in report.results)


def test_an_ordinary_user_has_the_same_walls() -> None:
    done = on(wrap=as_ordinary_user)
    assert done.returncode == 0, done.stderr
    assert f"{len(AGENT_ATTACKS)} of {len(AGENT_ATTACKS)} attacks held off, by bubblewrap" in done.stdout


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_programs_are_held_by_the_same_walls(wrap) -> None:
    done = on("--profile", "tools", wrap=wrap)
    assert done.returncode == 0, done.stderr
    assert f"{len(TOOLS_ATTACKS)} of {len(TOOLS_ATTACKS)} attacks held off, by bubblewrap" in done.stdout


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_where_namespaces_are_refused_landlock_and_seccomp_hold(wrap) -> None:
    done = on(without=("namespaces",), wrap=wrap)
    assert done.returncode == 0, done.stderr
    assert f"{len(AGENT_ATTACKS) - 1} of {len(AGENT_ATTACKS)} attacks held off, by landlock" in done.stdout
    assert "open, as documented  learns size and owner" in done.stdout
    assert "bubblewrap does not work here" in done.stdout


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_programs_are_held_where_namespaces_are_refused_too(wrap) -> None:
    done = on("--profile", "tools", without=("namespaces",), wrap=wrap)
    assert done.returncode == 0, done.stderr
    assert f"{len(TOOLS_ATTACKS) - 2} of {len(TOOLS_ATTACKS)} attacks held off, by landlock" in done.stdout
    still_open = [line for line in done.stdout.splitlines() if line.startswith("open")]
    assert len(still_open) == 2
    assert "learns size and owner" in still_open[1]
    assert "makes a folder outside its working folder" in still_open[0]


@pytest.mark.parametrize(
    ("without", "layer"),
    [
        (("landlock",), "landlock"),
        (("landlock-restrict",), "landlock"),
        (("namespaces", "landlock"), "landlock"),
        (("seccomp",), "seccomp"),
        (("prlimit",), "resource-limits"),
    ],
)
def test_a_machine_that_lacks_a_layer_is_refused_by_its_name(without: tuple[str, ...], layer: str) -> None:
    done = on(without=without, wrap=as_ordinary_user)
    assert done.returncode == 3
    assert f"sandbox layer {layer} is missing" in done.stderr


def test_a_self_test_that_finds_something_open_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    report = probe.ProbeReport("agent", "bubblewrap", "", (probe.ProbeResult("tcp", "connects", False, False, ""),))
    monkeypatch.setattr(probe, "probe_sandbox", lambda _: report)
    with pytest.raises(SandboxRefused, match="succeeded: tcp") as refused:
        probe.self_test(sandbox(Mechanism.BUBBLEWRAP))
    assert refused.value.layer is Layer.SECCOMP


def test_a_probe_that_leaves_an_attack_out_is_no_result() -> None:
    outcomes = [Outcome(attack.name, held=True, detail="EPERM") for attack in AGENT_ATTACKS[1:]]
    with pytest.raises(SandboxRefused, match="each attack"):
        probe._report(
            "agent", mechanism="", passed_over="", attacks=AGENT_ATTACKS, outcomes=outcomes, promised_open=frozenset()
        )


def test_every_attack_on_the_gateway_is_held_off(tmp_path: Path) -> None:
    (tmp_path / "gateway" / "state").mkdir(parents=True)
    (tmp_path / "proxy").mkdir()
    for name in (".master_key", "proxy/vault.sqlite", "proxy/ledger.sqlite", "proxy/operator.token", ".proxy_token"):
        (tmp_path / name).write_text("kept")
    report = probe.gateway_probes(tmp_path)
    assert [result.name for result in report.results] == [attack.name for attack in GATEWAY_ATTACKS]
    assert [result for result in report.results if not result.held] == []


def test_without_its_walls_the_gateway_reaches_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway" / "state").mkdir(parents=True)
    (tmp_path / ".master_key").write_text("kept")
    monkeypatch.setattr(probe, "confine_gateway", lambda *_: None)
    still_open = {result.name for result in probe.gateway_probes(tmp_path).results if not result.held}
    assert {"read-kept", "connect-kept", "tcp", "udp", "unix-path", "execute", "fork", "write-outside"} <= still_open


def test_a_gateway_that_cannot_be_confined_is_a_refusal_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SandboxRefused(Layer.LANDLOCK_SCOPE, "too old", "Get a newer one")

    (tmp_path / "gateway" / "state").mkdir(parents=True)
    monkeypatch.setattr(probe, "confine_gateway", refuse)
    with pytest.raises(SandboxRefused, match="landlock-scope is missing: too old. Get a newer one"):
        probe.gateway_probes(tmp_path)
    with pytest.raises(SandboxRefused, match="the confined child died"):
        probe.gateway_probes(tmp_path / "missing")
