import os
import select
import signal
import subprocess
import sys

import pytest
from sandbox_run import is_alive

from mycelos.sandbox import process_tree

RUNS_AWAY = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, f"{os.getpid()}\\n".encode())
        while True:
            os.read(0, 1) or __import__("signal").pause()
    os._exit(0)
os.wait()
__import__("signal").pause()
"""


def runaway() -> tuple[int, int]:
    """A process, and a grandchild of it that has left its session and lost its parent."""
    reader, writer = os.pipe()
    arguments = [sys.executable, "-I", "-c", RUNS_AWAY]
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writer, 1)]
    root = os.posix_spawn(sys.executable, arguments, {}, file_actions=actions)
    os.close(writer)
    assert select.select([reader], [], [], 20)[0]
    orphan = int(os.read(reader, 100))
    os.close(reader)
    return root, orphan


def test_a_reaper_ends_also_those_that_forked_twice(in_child) -> None:
    def end() -> object:
        process_tree.become_reaper()
        root, orphan = runaway()
        assert is_alive(orphan)
        status = process_tree.end_tree(root, spared=())
        return status, is_alive(root), is_alive(orphan)

    assert in_child(end) == str((int(signal.SIGKILL), False, False))


def test_without_the_reaper_the_orphan_survives(in_child) -> None:
    def end() -> object:
        process_tree.become_reaper()
        root, orphan = runaway()
        process_tree.end_tree(root)
        alive = is_alive(orphan)
        process_tree.end_tree(None, spared=())
        return alive, is_alive(orphan)

    assert in_child(end) == str((True, False))


def test_other_children_are_spared(in_child) -> None:
    def end() -> object:
        process_tree.become_reaper()
        other = subprocess.Popen(["sleep", "600"])
        root, orphan = runaway()
        process_tree.end_tree(root, spared={other.pid})
        alive = is_alive(other.pid), is_alive(orphan)
        other.kill()
        other.wait(10)
        return alive

    assert in_child(end) == str((True, False))


def test_a_process_that_does_not_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "_LIMIT_SECONDS", -1.0)
    child = subprocess.Popen(["sleep", "600"])
    try:
        with pytest.raises(process_tree.SurvivorError, match=str(child.pid)):
            process_tree.end_tree(child.pid)
    finally:
        child.kill()
        child.wait(10)
