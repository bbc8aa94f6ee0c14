"""Make targets, continuous integration and the shell scripts that they stand on."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELL = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]


def _run(*arguments: str | Path, path: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a program; programs in ``path`` come before those of the system."""
    search = os.environ["PATH"] if path is None else f"{path}:{os.environ['PATH']}"
    return subprocess.run(
        list(map(str, arguments)), cwd=cwd, env={**os.environ, "PATH": search, "MAKEFLAGS": "", "PYENV_ROOT": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    ended = _run(shellcheck, "--external-sources", *SHELL)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("script", SHELL, ids=lambda script: script.name)
def test_a_script_that_is_started_can_be_started(script: Path) -> None:
    sourced = script.name == "packages.sh"
    assert os.access(script, os.X_OK) is not sourced
    assert sourced or re.search(r"^set -e?uo pipefail$", script.read_text(), re.MULTILINE)


def test_make_alone_tells_every_target() -> None:
    told = _run("make").stdout
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "test-machine", "lint", "types", "demo", "soak", "lock", "picture", "install"} <= targets
    assert set(re.findall(r"^  make ([a-z-]+) ", told, re.MULTILINE)) == targets


def test_offline_leaves_the_loopback_interface_alone_and_passes_the_exit_code_on() -> None:
    look = "import socket; print([name for _, name in socket.if_nameindex()])"
    ended = _run("scripts/offline.sh", sys.executable, "-c", look)
    if "no network namespace can be made here" in ended.stderr:
        pytest.skip("this kernel gives this user no network namespace")
    assert ended.stdout.strip() == "['lo']"
    assert _run("scripts/offline.sh", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.skipif(os.getuid() != 0, reason="a user has no folder of memory")
def test_offline_gives_memory_to_the_tests_and_to_nobody_else() -> None:
    look = 'stat --file-system --format %T "${MYCELOS_TEST_FOLDER:-none}"; touch "$MYCELOS_TEST_FOLDER/mark"'
    ended = _run("scripts/offline.sh", "sh", "-c", look)
    if ended.stdout == "":
        pytest.skip("nothing may be mounted here")
    assert ended.stdout == "tmpfs\n"
    assert not Path("/tmp/m/mark").exists()


def test_offline_keeps_the_user_and_gives_no_power() -> None:
    ended = _run("scripts/offline.sh", "id", "-u")
    assert ended.stdout.strip() == str(os.getuid())


def test_offline_says_so_where_it_cannot_and_goes_on(tmp_path: Path) -> None:
    _stub(tmp_path, "unshare", "exit 1")
    ended = _run("scripts/offline.sh", "sh", "-c", "echo went on; exit 7", path=tmp_path)
    assert (ended.stdout, ended.returncode) == ("went on\n", 7)
    assert "no network namespace can be made here" in ended.stderr


def test_a_user_who_lacks_a_package_gets_the_line_to_run(tmp_path: Path) -> None:
    _stub(tmp_path, "id", "echo 1000")
    ended = _run("bash", "-c", ". scripts/packages.sh; ensure_packages python3 no-such-package", path=tmp_path)
    assert ended.returncode == 3
    assert "apt-get update && apt-get install --yes --no-install-recommends no-such-package\n" in ended.stderr


def test_root_gets_the_package_installed_and_is_told_when_that_did_not_help(tmp_path: Path) -> None:
    _stub(tmp_path, "id", "echo 0")
    _stub(tmp_path, "apt-get", f'echo "$*" >> {tmp_path}/log')
    ended = _run("bash", "-c", ". scripts/packages.sh; ensure_packages no-such-package", path=tmp_path)
    assert ended.returncode == 3
    assert "Still missing after the installation: no-such-package" in ended.stderr
    assert (tmp_path / "log").read_text().splitlines() == [
        "update -qq",
        "install -qq --yes --no-install-recommends no-such-package",
    ]


def test_a_python_that_is_too_old_is_refused() -> None:
    ended = _run("bash", "-c", ". scripts/packages.sh; PYTHON=false ensure_python")
    assert ended.returncode == 2
    assert "Python 3.11 or later is needed" in ended.stderr


def test_the_fuzzer_is_installed_once_from_its_lock(tmp_path: Path) -> None:
    for name in ("scripts/setup_fuzz.sh", "scripts/packages.sh", "requirements/fuzz.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    _stub(tmp_path / ".venv" / "bin", "python", f'[ "$1" = -m ] && echo "$*" >> {tmp_path}/log; exit 0')
    for _ in range(2):
        assert _run("env", "VENV=.venv", "scripts/setup_fuzz.sh", cwd=tmp_path).returncode == 0
    (installed,) = (tmp_path / "log").read_text().splitlines()
    assert "--require-hashes --requirement requirements/fuzz.txt" in installed


def test_where_the_fuzzer_cannot_be_installed_it_is_said_and_the_other_tests_go_on(tmp_path: Path) -> None:
    for name in ("scripts/setup_fuzz.sh", "scripts/packages.sh", "requirements/fuzz.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    _stub(tmp_path / ".venv" / "bin", "python", "exit 1")
    ended = _run("env", "VENV=.venv", "scripts/setup_fuzz.sh", cwd=tmp_path)
    assert ended.returncode == 0
    assert "its tests are skipped here" in ended.stderr


def _continuous_integration(folder: Path, make: str) -> subprocess.CompletedProcess[str]:
    """.ci/run in a folder of its own, where making the environment is nothing and make is the given script."""
    for name in (".ci/run", "scripts/packages.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    _stub(folder / "scripts", "setup_dev.sh", "exit 0")
    _stub(folder / "scripts", "setup_model.sh", "exit 0")
    for program, script in {"make": make, "chromium": "exit 0", "dpkg-query": "exit 0", "python3.13": "exit 0"}.items():
        _stub(folder / "bin", program, script)
    return _run("bash", ".ci/run", path=folder / "bin", cwd=folder)


def test_continuous_integration_ends_with_the_minutes_and_the_summaries(tmp_path: Path) -> None:
    make = 'echo "==== 12 passed in 1.00s ===="; echo "skips: $MYCELOS_TEST_NO_SKIP"'
    ended = _continuous_integration(tmp_path, make)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("skips: 1") == 4
    assert re.findall(r"^(\S+) +[0-9.]+ minutes$", ended.stdout, re.MULTILINE) == [
        "system", "environment", "model", "test", "unit-3.13", "test-machine", "test-claims",
    ]  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "==== 12 passed in 1.00s ===="


def test_the_lanes_of_continuous_integration_leave_no_folder_of_tests_out() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    (in_make,) = re.findall(r"^TESTS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (in_lane,) = re.findall(r'TESTS="(.*)" test$', (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert in_make.split() == settings["testpaths"] == [*in_lane.split(), "tests/claims"]


@pytest.mark.parametrize("stage", ["test-unit", "test", "test-machine", "test-claims"])
def test_continuous_integration_fails_where_a_stage_fails(tmp_path: Path, stage: str) -> None:
    make = f'[ "${{@: -1}}" = {stage} ] && exit 2; echo "==== 1 passed in 1s ===="'
    ended = _continuous_integration(tmp_path, make)
    assert ended.returncode == 2
    assert "failed with 2" in ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("stage", ["test-unit", "test", "test-machine", "test-claims"])
def test_continuous_integration_ends_with_the_tests_that_failed_and_the_last_that_began(
    tmp_path: Path, stage: str
) -> None:
    begins = 'echo "tests/a.py::last" > "$MYCELOS_TEST_CURRENT"; yes "FAILED tests/a.py::one - no" | head --lines 40'
    make = f'[ "${{@: -1}}" = {stage} ] && {{ {begins}; seq 100; exit 2; }}; echo "==== 1 passed in 1s ===="'
    lines = _continuous_integration(tmp_path, make).stdout.splitlines()
    assert lines[-14:-2] == ["FAILED tests/a.py::one - no"] * 12
    assert lines[-2] == "the last test that began: tests/a.py::last"
    assert len(lines) - max(number for number, line in enumerate(lines) if line == "100") <= 30


def test_continuous_integration_says_so_where_there_is_no_python_3_13(tmp_path: Path) -> None:
    _stub(tmp_path / "bin", "pyenv", "exit 1")
    ended = _continuous_integration(tmp_path, 'echo "==== 1 passed in 1s ===="')
    assert "not run" not in ended.stdout
    _stub(tmp_path / "bin", "python3.13", "exit 1")
    ended = _run("bash", ".ci/run", path=tmp_path / "bin", cwd=tmp_path)
    assert "unit-3.13      not run: this machine has no Python 3.13" in ended.stdout
    assert ended.returncode == 0


def test_a_python_3_13_that_pyenv_has_built_is_found_behind_a_shim_that_does_not_start(tmp_path: Path) -> None:
    _stub(tmp_path / "bin", "pyenv", f"echo {tmp_path}/builds")
    _stub(tmp_path / "builds" / "versions" / "3.13.7" / "bin", "python3.13", "exit 0")
    _continuous_integration(tmp_path, 'echo "==== 1 passed in 1s ===="')
    _stub(tmp_path / "bin", "python3.13", "exit 127")
    ended = _run("bash", ".ci/run", path=tmp_path / "bin", cwd=tmp_path)
    assert "not run" not in ended.stdout
    assert ended.returncode == 0


def test_what_runs_beside_and_was_ended_from_outside_has_not_passed(tmp_path: Path) -> None:
    # The lane itself is killed, and so says nothing of its exit.
    make = 'if [ "${@: -1}" = test-machine ]; then kill -KILL $PPID; fi; echo "==== 1 passed in 1s ===="'
    ended = _continuous_integration(tmp_path, make)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "=== test-machine failed with 1"


def test_a_stage_that_fails_ends_what_runs_beside_it(tmp_path: Path) -> None:
    mark = tmp_path / "beside"
    beside = f"sleep 60 & echo $! > {mark}.new; mv {mark}.new {mark}; wait"
    make = f'if [ "${{@: -1}}" = test-unit ]; then {beside}; fi; until [ -e {mark} ]; do :; done; exit 2'
    ended = _continuous_integration(tmp_path, make)
    assert ended.returncode == 2
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(int(mark.read_text()))
        readable, _, _ = select.select([descriptor], [], [], 20)
        os.close(descriptor)
        assert readable
