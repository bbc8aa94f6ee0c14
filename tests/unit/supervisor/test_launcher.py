from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap

from mycelos.supervisor.supervise import LAUNCHER

WAIT = 20_000
"""Milliseconds that a test waits for an end, at most."""

PARENT = """
import os, subprocess, sys, time
prefix = sys.argv[1:]
prefix = [os.getpid().__str__() if part == "PARENT" else part for part in prefix]
child = subprocess.Popen([*prefix, sys.executable, "-I", "-c", "import time; print('up', flush=True); time.sleep(600)"],
                         stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def _ends_with_its_parent(prefix: list[str]) -> bool:
    """Kill a parent; tell whether its child ended too. The child is killed in any case."""
    parent = subprocess.Popen([sys.executable, "-I", "-c", PARENT, *prefix], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    pidfd = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait(20)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = bool(poll.poll(WAIT if prefix else 500))
        if not ended:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return ended


def test_a_launched_program_ends_when_its_supervisor_is_killed():
    assert _ends_with_its_parent([sys.executable, "-I", "-S", LAUNCHER, "PARENT"])


def test_without_the_launcher_it_would_live_on():
    assert not _ends_with_its_parent([])


def test_a_program_whose_supervisor_is_gone_already_is_not_started():
    done = subprocess.run(
        [sys.executable, "-I", "-S", LAUNCHER, "1", "/bin/echo", "started"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_launched_program_leaves_no_core_dump_and_its_files_are_its_owners_only():
    script = """
        import os, resource
        print(resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))
    """
    command = [
        sys.executable,
        "-I",
        "-S",
        LAUNCHER,
        str(os.getpid()),
        sys.executable,
        "-I",
        "-c",
        textwrap.dedent(script),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(0, 0) 0o77"
