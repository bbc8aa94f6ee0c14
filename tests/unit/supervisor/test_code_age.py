from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from mycelos.supervisor import code_age
from mycelos.supervisor.code_age import code_changed_at, older_than_code
from mycelos.supervisor.state import ChildState, SupervisorState


def running(**pids):
    children = tuple(ChildState(name, pid, True, 0) for name, pid in pids.items())
    return SupervisorState(1, os.getpid(), 1, "", "", "127.0.0.1", 1, 1, "", "", children)


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    (folder / "inside").mkdir(parents=True)
    for name in ("__init__.py", "inside/page.html"):
        (folder / name).write_text("old")
    return folder


@pytest.fixture
def later():
    """A process that is there for the length of the test."""
    with subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.communicate()


def touch_after_the_clock_moved(path):
    """Change a file until the kernel's coarse clock says a later time than before."""
    before = time.time() + 0.1
    path.touch()
    while path.stat().st_ctime < before:
        path.write_text("new")


def test_a_process_that_is_younger_than_the_code_is_not_named(package, monkeypatch, later):
    monkeypatch.setattr(code_age, "code_changed_at", lambda _: 1.0)
    assert older_than_code(running(proxy=later.pid), package) == ()


@pytest.mark.parametrize("name", ["__init__.py", "inside/page.html"])
def test_a_file_that_was_changed_makes_what_runs_older_than_it(package, later, name):
    touch_after_the_clock_moved(package / name)
    assert older_than_code(running(proxy=later.pid, gateway=None), package) == ("supervisor", "proxy")


def test_a_file_that_was_put_back_with_its_old_time_is_changed_all_the_same(package, later):
    path = package / "__init__.py"
    touch_after_the_clock_moved(path)
    os.utime(path, (1, 1))
    assert path.stat().st_mtime == 1
    assert "proxy" in older_than_code(running(proxy=later.pid), package)


def test_what_the_interpreter_writes_beside_the_code_does_not_count(package):
    before = code_changed_at(package)
    compiled = package / "inside" / "__pycache__" / "x.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    touch_after_the_clock_moved(compiled)
    assert code_changed_at(package) == before


def test_a_process_that_has_ended_is_not_named(package):
    with subprocess.Popen([sys.executable, "-I", "-c", ""]) as process:
        process.wait()
        assert "proxy" not in older_than_code(running(proxy=process.pid), package)
