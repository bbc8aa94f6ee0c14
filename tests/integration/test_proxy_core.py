"""A real proxy, looked at from outside: no core of it is written, and nobody but root opens its memory."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from mycelos.prove import twin
from mycelos.prove.twin import Twin

NO_LIMIT = "import resource\nresource.setrlimit = lambda *_: None\n"
NOT_HARDENED = "from mycelos.proxy import process\nprocess.harden = lambda: None\n"


def core_limit(pid):
    """Soft and hard limit of a core's size, as the kernel shows them."""
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core"))
    return tuple(line.split()[4:6])


def dies_with_a_core(proxy, folder):
    """Whether the kernel takes a core of it when it dies of a fault."""
    pid = proxy._process.pid
    os.kill(pid, signal.SIGABRT)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status) or any(folder.iterdir())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, where a core would be written, and a limit that lets it."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] == 0:
        pytest.skip("this machine lets no process leave a core: run the tests with ulimit -Hc unlimited")
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_a_proxy_has_no_core_and_belongs_to_root_alone(folder):
    with Twin(9) as proxy:
        pid = proxy._process.pid
        assert core_limit(pid) == ("0", "0")
        # The kernel gives the files of a process that is not dumpable to root; as root, that tells nothing.
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        assert not dies_with_a_core(proxy, folder)


def test_without_its_limit_it_still_leaves_no_core(folder, monkeypatch):
    """One of the two walls taken away: it is not dumpable."""
    monkeypatch.setattr(twin, "PROGRAM", NO_LIMIT + twin.PROGRAM)
    with Twin(9) as proxy:
        assert core_limit(proxy._process.pid) != ("0", "0")
        assert not dies_with_a_core(proxy, folder)


def test_without_both_the_same_proxy_leaves_a_core(folder, monkeypatch):
    monkeypatch.setattr(twin, "PROGRAM", NOT_HARDENED + twin.PROGRAM)
    with Twin(9) as proxy:
        assert dies_with_a_core(proxy, folder)
