import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from sandbox_run import is_alive, open_descriptors, start

from mycelos.sandbox import process_tree
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import Execute, Mount, MountKind, SandboxPlan
from mycelos.sandbox.process import ConfinedProcess, ending
from mycelos.sandbox.profiles import TOOLS


@contextmanager
def started(*arguments: object, **named: object) -> Iterator[ConfinedProcess]:
    confined = start(*arguments, **named)
    try:
        yield confined
    finally:
        confined.end()
        confined.close()


def test_a_command_runs_in_its_workspace_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    script = "pwd > where; id -u > who; exit 7"
    with started(tmp_path, Execute(("sh", "-c", script)), profile=TOOLS) as confined:
        confined.wait_armed()
        assert confined.wait(20) == (7, 0)
    assert (tmp_path / "where").read_text() == "/workspace\n"
    assert int((tmp_path / "who").read_text()) != 0


def test_a_signal_is_told_from_an_exit_code() -> None:
    assert ending(9) == (137, signal.SIGKILL)
    assert ending(137 << 8) == (137, signal.SIGKILL)
    assert ending(3 << 8) == (3, 0)


def test_ending_a_run_leaves_nothing_of_it(tmp_path: Path) -> None:
    script = "(setsid sleep 600 &) ; sleep 600"
    with started(tmp_path, Execute(("sh", "-c", script)), profile=TOOLS) as confined:
        confined.wait_armed()
        family = [pid for pid, parent in process_tree.parents().items() if parent == confined.pid]
        assert family
        assert confined.wait(0) is None
        assert confined.end() == (137, signal.SIGKILL)
        assert not any(is_alive(pid) for pid in (confined.pid, *family))
        assert confined.end() == (137, signal.SIGKILL)


def test_a_namespace_that_cannot_be_made_names_bubblewrap_and_what_it_said(tmp_path: Path) -> None:
    def break_mount(plan: SandboxPlan) -> SandboxPlan:
        return msgspec.structs.replace(plan, mounts=(Mount(MountKind.READ, "/nowhere", "/nowhere"),))

    with started(tmp_path, Execute(("true",)), change=break_mount) as confined:
        with pytest.raises(SandboxRefused, match="nowhere") as refused:
            confined.wait_armed()
        assert refused.value.layer is Layer.BUBBLEWRAP


def test_a_launch_that_hangs_is_ended(tmp_path: Path) -> None:
    with started(tmp_path, Execute(("true",))) as confined:
        os.kill(confined.pid, signal.SIGSTOP)
        os.kill(confined.pid, signal.SIGCONT)
        with pytest.raises(SandboxRefused):
            confined.wait_armed(seconds=0)


def test_what_a_run_writes_is_kept_short_and_escaped(tmp_path: Path) -> None:
    script = "printf '%09000d\\033[31m\\n' 0"
    with started(tmp_path, Execute(("sh", "-c", script)), profile=TOOLS) as confined:
        confined.wait_armed()
        while confined.wait(0) is None:
            confined.read_diagnostics()
        while confined.read_diagnostics():
            pass
        assert len(confined.text) <= 4096
        assert confined.diagnosis().endswith("00\\x1b[31m")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = open_descriptors()
    with started(tmp_path, Execute(("true",))) as confined:
        confined.wait_armed()
        assert confined.wait(20) == (0, 0)
    assert open_descriptors() == before
