import select
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sandbox_run import start

from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import Execute, Mechanism, PathRule, RunModule, SandboxPlan

TRUE = Execute(("true",))
replace = msgspec.structs.replace

BROKEN: dict[str, tuple[Layer, Callable[[SandboxPlan], SandboxPlan]]] = {
    "a rule on a path that is missing": (
        Layer.LANDLOCK,
        lambda plan: replace(plan, rules=(*plan.rules, PathRule("/missing", 4))),
    ),
    "a right that no kernel knows": (
        Layer.LANDLOCK,
        lambda plan: replace(plan, handled_files=plan.handled_files | 1 << 60),
    ),
    "a filter that is none": (Layer.SECCOMP, lambda plan: replace(plan, filter_program=b"12345678")),
    "an empty filter": (Layer.SECCOMP, lambda plan: replace(plan, filter_program=b"")),
    "a limit that is unknown": (Layer.RESOURCE_LIMITS, lambda plan: replace(plan, limits={"NOTHING": 1})),
    "another folder in the workspace's place": (
        Layer.WORKSPACE,
        lambda plan: replace(plan, workspace=replace(plan.workspace, inode=plan.workspace.inode + 1)),
    ),
}


@pytest.mark.parametrize("fault", list(BROKEN))
def test_a_wall_that_cannot_be_put_up_means_that_nothing_runs(tmp_path: Path, fault: str) -> None:
    layer, change = BROKEN[fault]
    marked = Execute(("sh", "-c", "touch ran"))
    confined = start(tmp_path, marked, change=change)
    try:
        with pytest.raises(SandboxRefused) as refused:
            confined.wait_armed()
        assert refused.value.layer is layer
    finally:
        confined.end()
        confined.close()
    assert not (tmp_path / "ran").exists()


def test_the_same_plan_unbroken_runs(tmp_path: Path) -> None:
    confined = start(tmp_path, Execute(("sh", "-c", "> ran")))
    try:
        confined.wait_armed()
        assert confined.wait(20) == (0, 0)
    finally:
        confined.end()
        confined.close()
    assert (tmp_path / "ran").exists()


def test_a_user_that_the_process_cannot_become_is_refused(tmp_path: Path) -> None:
    confined = start(tmp_path, TRUE, change=lambda plan: replace(plan, user=(1 << 32) - 1))
    try:
        with pytest.raises(SandboxRefused):
            confined.wait_armed()
    finally:
        confined.end()
        confined.close()


@pytest.mark.parametrize(("command", "code"), [("missing-program", 127), ("", 127), ("/workspace", 126)])
def test_a_program_that_cannot_be_executed_ends_as_in_a_shell(tmp_path: Path, command: str, code: int) -> None:
    confined = start(tmp_path, Execute((command,)))
    try:
        confined.wait_armed()
        assert confined.wait(20) == (code, 0)
    finally:
        confined.end()
        confined.close()


def test_a_module_finds_its_channel_and_nothing_else_open(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        confined = start(tmp_path, RunModule("mycelos.sandbox.attacks"), channel=theirs)
        theirs.close()
        try:
            confined.wait_armed()
            # Half a length, then the end: the module stops, it does not wait for ever.
            ours.send(b"\0\0")
            ours.shutdown(socket.SHUT_WR)
            assert select.select([ours], [], [], 20)[0]
            assert ours.recv(1) == b""
            ended = confined.wait(20)
            assert ended is not None
            assert ended[0] != 0
        finally:
            confined.end()
            confined.close()
    assert confined.plan.mechanism is Mechanism.BUBBLEWRAP
