import json
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import seccompy
from sandbox_machine import as_ordinary_user, on_machine, readable_to_all
from sandbox_run import is_alive, start

from mycelos.sandbox.plan import Execute, SandboxPlan
from mycelos.sandbox.profiles import TOOLS

WAIT = 120


def mycelos_sandbox(
    *arguments: str, without: tuple[str, ...] = (), wrap=lambda command: command, data_directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = wrap(on_machine("sandbox_cli", *arguments, without=without))
    environment = {"PATH": os.environ["PATH"], "MYCELOS_TEST_SECRET": "of the person"}
    if data_directory is not None:
        environment["MYCELOS_DATA_DIR"] = str(data_directory)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WAIT, check=False, env=environment, stdin=subprocess.DEVNULL
    )


def seconds_of_its_own() -> str:
    """How long to sleep: years, and a number that is on no command line of another test run."""
    return str(10**8 + secrets.randbelow(10**8))


def running_with(text: str) -> list[str]:
    """The command lines on this machine that have ``text`` in them."""
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit() and is_alive(int(path.name))]
    lines = [command_line(path) for path in processes]
    return [line for line in lines if text in line]


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_what_runs_is_found_by_its_command_line() -> None:
    seconds = seconds_of_its_own()
    with subprocess.Popen(["sleep", seconds]) as process:
        try:
            assert running_with(seconds)
        finally:
            process.kill()
    assert not running_with(seconds)


def test_a_command_runs_inside_and_its_exit_code_and_output_come_back() -> None:
    done = mycelos_sandbox("run", "--", "sh", "-c", "echo out; echo err >&2; env; exit 7")
    assert done.returncode == 7
    assert done.stdout.startswith("out\n")
    assert done.stderr == "err\n"
    assert "MYCELOS_TEST_SECRET" not in done.stdout


def test_a_command_writes_the_folder_that_it_was_given_and_no_other(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    owner = given.stat().st_uid
    script = f"echo made > made; echo x > {tmp_path}/other; cat /etc/shadow; ls {tmp_path}"
    done = mycelos_sandbox("run", "--workspace", str(given), "--", "sh", "-c", script)
    assert done.returncode != 0
    assert (given / "made").read_text() == "made\n"
    assert [path.name for path in tmp_path.iterdir()] == ["given"]
    assert given.stat().st_uid == owner


def test_a_folder_above_the_data_folder_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ("run", "--workspace", str(tmp_path), "--", "true")
    refused = mycelos_sandbox(*arguments, data_directory=tmp_path / "data")
    assert refused.returncode == 3
    assert "holds the data folder" in refused.stderr
    assert mycelos_sandbox(*arguments).returncode == 0


@pytest.mark.parametrize("profile", ["tools", "agent"])
def test_a_command_has_no_network(profile: str) -> None:
    code = "import socket; socket.socket()"
    done = mycelos_sandbox("run", "--profile", profile, "--", "python3", "-c", code)
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_under_the_agents_walls_a_command_starts_no_other() -> None:
    done = mycelos_sandbox("run", "--profile", "agent", "--", "python3", "-c", "import os; os.fork()")
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_a_command_that_takes_too_long_is_ended_with_what_it_started() -> None:
    seconds = seconds_of_its_own()
    script = f"(setsid sleep {seconds} &); sleep {seconds}"
    done = mycelos_sandbox("run", "--timeout", "1", "--", "sh", "-c", script)
    assert done.returncode == 124
    assert "ended after 1 seconds" in done.stderr
    assert not running_with(seconds)


EVERY_WAY_TO_MARK = """
cp /bin/true tool
chmod 4755 tool; chmod u+s tool; chmod 6755 tool
install -m 4755 tool installed
python3 -c 'import os; os.close(os.open("born", os.O_CREAT | os.O_WRONLY, 0o4755))'
python3 -c 'import os; os.fchmod(os.open("tool", os.O_RDONLY), 0o4755)'
python3 -c 'import tarfile; t = tarfile.TarInfo("unpacked"); t.mode = 0o4755; tarfile.open("a.tar", "w").addfile(t)'
tar xpf a.tar
exit 0
"""
EVERYDAY = """
set -e
mkdir -p tree/deep; mkdir -m 700 tree/own; echo text > tree/deep/file
chmod 640 tree/deep/file; chmod -R u+w,g-w tree; install -d -m 755 tree/made
cp -a tree copy; diff -r tree copy
tar cf tree.tar tree; mkdir out; tar xpf tree.tar -C out; diff -r tree out/tree
python3 -c 'import shutil; shutil.copytree("tree", "again")'
python3 -c 'import sqlite3; print(*sqlite3.connect("x.sqlite").execute("pragma journal_mode=wal").fetchone())'
python3 -c 'import asyncio, sys; asyncio.run(asyncio.create_subprocess_exec("true"))'
if command -v git > /dev/null; then git init -q home; git -C home status --short; git clone -q home other 2>&1; fi
"""


@pytest.fixture
def given(wrap) -> Iterator[Path]:
    """A folder of the user who will run the command; not below pytest's, which only its own user may enter."""
    with tempfile.TemporaryDirectory(prefix="mycelos-given-") as folder:
        if os.geteuid() == 0 and wrap is as_ordinary_user:
            os.chown(folder, 2000, 2000)
        yield Path(folder)


def runs_as_its_owner(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & stat.S_ISUID)


@pytest.mark.parametrize("without", [(), ("namespaces",)])
@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_no_command_leaves_a_program_that_runs_as_its_starter_for_everybody(given: Path, wrap, without) -> None:
    arguments = ("run", "--workspace", str(given), "--", "sh", "-c", EVERY_WAY_TO_MARK)
    done = mycelos_sandbox(*arguments, wrap=wrap, without=without)
    assert done.returncode == 0, done.stderr
    assert (given / "tool").exists()
    assert runs_as_its_owner(given) == []


def test_without_the_filter_a_command_leaves_one(tmp_path: Path) -> None:
    def unfiltered(plan: SandboxPlan) -> SandboxPlan:
        return msgspec.structs.replace(plan, filter_program=seccompy.Filter().program)

    started = start(tmp_path, Execute(("sh", "-c", EVERY_WAY_TO_MARK)), profile=TOOLS, change=unfiltered)
    try:
        started.wait_armed()
        assert started.wait(WAIT) == (0, 0)
    finally:
        started.end()
        started.close()
    assert runs_as_its_owner(tmp_path) == ["born", "installed", "tool", "unpacked"]


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_copying_packing_and_changing_modes_go_on_as_outside(given: Path, wrap) -> None:
    done = mycelos_sandbox("run", "--workspace", str(given), "--", "sh", "-c", EVERYDAY, wrap=wrap)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wal" in done.stdout


EVERYDAY_WITHOUT_NAMESPACES = """
set -e
mkdir -p tree/deep; mkdir -m 700 tree/own; echo text > tree/deep/file; ln -s file tree/deep/link
cp -r tree copy; diff -r tree copy; ls -l tree > /dev/null
if cp -a tree kept; then exit 90; fi; diff -r tree kept
tar cf tree.tar tree; mkdir out again
if tar xf tree.tar -C out; then exit 91; fi; diff -r tree out/tree
if chmod 600 tree/deep/file; then exit 92; fi
sed -i s/text/words/ tree/deep/file; grep -q words tree/deep/file
python3 -c 'import sqlite3; print(*sqlite3.connect("x.sqlite").execute("pragma journal_mode=wal").fetchone())'
"""


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_without_namespaces_copying_and_packing_complain_of_modes_and_times_and_copy_the_content(
    given: Path, wrap
) -> None:
    arguments = ("run", "--workspace", str(given), "--", "sh", "-c", EVERYDAY_WITHOUT_NAMESPACES)
    done = mycelos_sandbox(*arguments, wrap=wrap, without=("namespaces",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wal" in done.stdout
    assert "Cannot utime: Operation not permitted" in done.stderr
    assert "changing permissions of 'tree/deep/file': Operation not permitted" in done.stderr


CHANGE_OUTSIDE = """
import os, sys
for access in (os.O_RDONLY, os.O_PATH, os.O_ACCMODE):
    try:
        descriptor = os.open(sys.argv[1], access)
        os.chmod(f"/proc/self/fd/{descriptor}", 0o666)
        os.fchmod(descriptor, 0o666)
    except OSError:
        pass
try:
    os.chmod(sys.argv[1], 0o666)
except OSError:
    pass
"""


@pytest.mark.parametrize("without", [(), ("namespaces",)])
@pytest.mark.parametrize("wrap", [as_ordinary_user])
def test_no_command_opens_a_key_of_its_starter_to_everybody(given: Path, wrap, without) -> None:
    with tempfile.TemporaryDirectory(prefix="mycelos-key-") as folder:
        key = Path(folder) / "key"
        key.touch(0o600)
        if os.geteuid() == 0:
            os.chown(key, 2000, 2000)
            Path(folder).chmod(0o755)
        arguments = ("run", "--workspace", str(given), "--", "python3", "-c", CHANGE_OUTSIDE, str(key))
        done = mycelos_sandbox(*arguments, wrap=wrap, without=without)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        outside = wrap([sys.executable, "-c", CHANGE_OUTSIDE, str(key)])
        assert subprocess.run(outside, timeout=WAIT, check=False).returncode == 0
        assert stat.S_IMODE(key.stat().st_mode) == 0o666, "without walls its owner may"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "Name a command"),
        (("run", "--profile", "root", "--", "true"), "there are: agent, tools"),
        (("probe", "--profile", "root"), "mycelos: There is no profile root to probe; there are: agent, tools"),
        (("run", "--timeout", "-1", "--", "true"), "above 0"),
        (("run", "--timeout", "0", "--", "true"), "above 0"),
        (("run", "--timeout", "nan", "--", "true"), "above 0"),
        (("run", "--timeout", "1e400", "--", "true"), "above 0"),
        (("run", "--timeout", "1e300", "--", "true"), "above 0"),
    ],
)
def test_wrong_usage_says_what_is_right(arguments: tuple[str, ...], words: str) -> None:
    done = mycelos_sandbox(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_missing_wall_is_exit_code_three_and_nothing_runs(tmp_path: Path) -> None:
    arguments = ("run", "--workspace", str(tmp_path), "--", "touch", "ran")
    done = mycelos_sandbox(*arguments, without=("landlock",))
    assert done.returncode == 3
    assert "layer landlock is missing" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert mycelos_sandbox(*arguments).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ran"]


def test_without_namespaces_what_a_command_leaves_behind_is_ended() -> None:
    seconds = seconds_of_its_own()
    script = f"(setsid sleep {seconds} &); exit 5"
    done = mycelos_sandbox("run", "--", "sh", "-c", script, without=("namespaces",), wrap=as_ordinary_user)
    assert done.returncode == 5, done.stderr
    assert not running_with(seconds)


def test_the_probe_prints_json() -> None:
    done = mycelos_sandbox("probe", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["holds"] is True
    assert report["mechanism"] == "bubblewrap"
    assert {"name", "sentence", "held", "as_promised", "detail"} == set(report["results"][0])
