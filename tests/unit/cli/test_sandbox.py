import json
import os
import subprocess
from pathlib import Path

import pytest
from sandbox_machine import as_ordinary_user, on_machine
from sandbox_run import is_alive

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
    done = mycelos_sandbox("run", "--timeout", "1", "--", "sh", "-c", "(setsid sleep 4242 &); sleep 4242")
    assert done.returncode == 124
    assert "ended after 1 seconds" in done.stderr
    running = [path for path in Path("/proc").iterdir() if path.name.isdigit() and is_alive(int(path.name))]
    assert not [path for path in running if b"4242" in command_line(path)]


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "Name a command"),
        (("run", "--profile", "root", "--", "true"), "there are: agent, tools"),
        (("probe", "--profile", "tools"), "mycelos: There is no profile tools"),
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
    script = "(setsid sleep 4343 &); exit 5"
    done = mycelos_sandbox("run", "--", "sh", "-c", script, without=("namespaces",), wrap=as_ordinary_user)
    assert done.returncode == 5, done.stderr
    running = [path for path in Path("/proc").iterdir() if path.name.isdigit() and is_alive(int(path.name))]
    assert not [path for path in running if b"4343" in command_line(path)]


def test_the_probe_prints_json() -> None:
    done = mycelos_sandbox("probe", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["holds"] is True
    assert report["mechanism"] == "bubblewrap"
    assert {"name", "sentence", "held", "as_promised", "detail"} == set(report["results"][0])
