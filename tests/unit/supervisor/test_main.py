from __future__ import annotations

import errno
import fcntl
import json
import socket
import stat
import subprocess
import sys

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.supervisor import main
from mycelos.supervisor.checks import ServeRefusedError

TOKEN = "a" * 43

# A process of its own: `serve` hides the memory of the process that calls it, which would break a debugger here.
SERVE = """
import dataclasses, os, sys
from mycelos.supervisor import main
from mycelos.supervisor.checks import ServeRefusedError
STAND_IN = '''
import os, signal, sys
fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(fd, b"ready\\\\n"); os.close(fd)
while True: signal.pause()
'''
real = main.plan_children
def stand_ins(*arguments):
    return tuple(
        dataclasses.replace(plan, program=("-c", sys.argv[3] if sys.argv[3] and plan.role == "proxy" else STAND_IN))
        for plan in real(*arguments)
    )
main.plan_children = stand_ins
def announce(state):
    print(open(sys.argv[1]).read(), flush=True)
    exec(sys.argv[2])
    os.kill(os.getpid(), 15)
try:
    sys.exit(main.serve(os.environ, announce))
except ServeRefusedError as error:
    print("refused:", error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def serve(layout, free_port):
    layout.proxy_token.write_text(TOKEN)
    layout.proxy_token.chmod(0o600)
    layout.master_key.write_text("not looked at by the supervisor")
    ports = {"MYCELOS_PORT": str(free_port()), "MYCELOS_OPERATOR_PORT": str(free_port())}

    def run(and_then="", proxy="", **variables):
        environ = {"PATH": "/usr/bin:/bin", "MYCELOS_DATA_DIR": str(layout.root), **ports, **variables}
        command = [sys.executable, "-c", SERVE, str(layout.supervisor_state), and_then, proxy]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_it_serves_with_folders_of_its_owner_and_says_so_in_its_state(serve, layout: DataLayout):
    done = serve()
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert [child["ready"] for child in state["children"]] == [True] * 4
    assert state["page_url"] == f"http://localhost:{state['port']}"
    for folder in (layout.proxy, layout.gateway.parent, layout.gateway, layout.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not layout.supervisor_state.exists()


def test_each_log_line_is_an_object_without_a_secret(serve):
    done = serve(MYCELOS_PASSWORD="correct horse battery")
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events.count("child.ready") == 4
    assert TOKEN not in done.stderr
    assert "correct horse" not in done.stderr


def test_its_own_environment_is_hidden_from_others_of_the_same_user(serve):
    # prctl(2), PR_GET_DUMPABLE: 0 means that /proc/PID/environ and /proc/PID/mem are the kernel's alone.
    done = serve(and_then="import ctypes; print(ctypes.CDLL(None).prctl(3))")
    assert done.stdout.splitlines()[-1] == "0"


def test_a_second_one_is_refused_while_the_first_holds_the_folder(serve, layout):
    layout.run.mkdir()
    with (layout.run / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = serve()
    assert done.returncode == 1
    assert "already running" in done.stdout


def test_a_busy_port_is_refused_before_anything_starts(serve, free_port):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = serve(MYCELOS_OPERATOR_PORT=str(port))
    assert done.returncode == 1
    assert "MYCELOS_OPERATOR_PORT" in done.stdout
    assert done.stderr == ""


def test_a_folder_that_cannot_be_made_is_refused(serve, layout):
    layout.run.write_text("a file stands where the folder should be")
    done = serve()
    assert done.returncode == 1
    assert f"cannot make {layout.run} a folder of mode 0700: File exists; something else lies there" in done.stdout


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "Read-only file system; mount it so that it can be written"),
        (errno.ENOSPC, "No space left on device; make room on that disk"),
        (errno.EACCES, "Permission denied; check who owns"),
    ],
)
def test_why_a_folder_cannot_be_made_is_said(layout, monkeypatch, number, said):
    def refuse(*_args, **_named):
        raise OSError(number, "")

    monkeypatch.setattr("mycelos.supervisor.main.Path.chmod", refuse)
    with pytest.raises(ServeRefusedError, match=said):
        main._make_folders(layout)


@pytest.mark.parametrize("missing", ["proxy_token", "master_key"])
def test_without_token_or_key_it_is_refused(serve, layout, missing):
    getattr(layout, missing).unlink()
    done = serve()
    assert done.returncode == 1
    assert "mycelos init" in done.stdout


def test_a_failed_start_ends_with_one_plain_reason(serve):
    done = serve(proxy="import sys; sys.exit(print('no wall here; see: mycelos doctor') or 3)")
    assert done.returncode == 3
    assert done.stdout == "refused: proxy did not start: no wall here; see: mycelos doctor\n"
