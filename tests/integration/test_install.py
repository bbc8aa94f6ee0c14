"""The installer, with the environment of this test run in place of a new one: key, token, repetition, refusals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT


def install(data: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """scripts/install.sh with everything that it writes below the folder of ``data``; starts nothing unless told."""
    return subprocess.run(
        ["scripts/install.sh", "--data-dir", str(data), "--bin-dir", str(data.parent / "bin"), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "VENV": str(Path(sys.prefix)), **environment},
    )  # fmt: skip


@pytest.fixture
def data(short_directory: Path) -> Path:
    """Where the installer is to put the data: not there yet, and with a space in its path."""
    return short_directory / "my data"


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_dry_run_tells_and_does_nothing(data: Path) -> None:
    ended = install(data, "--dry-run")
    assert ended.returncode == 0
    assert str(data) in ended.stdout
    assert not data.exists()
    assert not (data.parent / "bin").exists()


@pytest.mark.parametrize("options", [["--nope"], ["--data-dir"], ["--data-dir", ""], ["folder"]])
def test_wrong_usage_is_told_and_nothing_is_done(data: Path, options: list[str]) -> None:
    ended = install(data, *options)
    assert ended.returncode == 2
    assert ended.stderr
    assert not data.exists()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MYCELOS_PORT": "nine"}, "MYCELOS_PORT"),
        ({"MYCELOS_PORT": "7000", "MYCELOS_OPERATOR_PORT": "7000"}, "MYCELOS_OPERATOR_PORT"),
        ({"MYCELOS_EGRESS_OPEN": "169.254.169.254:80"}, "MYCELOS_EGRESS_OPEN"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_before_a_key_is_made(
    data: Path, variables: dict[str, str], named: str
) -> None:
    ended = install(data, "--no-start", **variables)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert not data.exists()


def test_key_token_and_folders_are_made_for_the_owner_alone(data: Path) -> None:
    ended = install(data, "--no-start")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "host mode" in ended.stdout
    assert _mode(data / ".master_key") == 0o600
    assert _mode(data / ".proxy_token") == 0o600
    assert _mode(data) & 0o077 in {0, 0o011}
    assert len((data / ".master_key").read_text().strip()) == 44
    assert (data / ".master_key").read_text().strip() not in ended.stdout + ended.stderr
    assert (data / ".proxy_token").read_text().strip() not in ended.stdout + ended.stderr


def test_a_second_installation_changes_neither_key_nor_token(data: Path) -> None:
    install(data, "--no-start")
    before = [(data / name).read_bytes() for name in (".master_key", ".proxy_token")]
    ended = install(data, "--no-start", "--host")
    assert ended.returncode == 0, ended.stderr
    assert [(data / name).read_bytes() for name in (".master_key", ".proxy_token")] == before


def test_an_installation_that_was_interrupted_after_the_key_keeps_the_key(data: Path) -> None:
    install(data, "--no-start")
    key = (data / ".master_key").read_bytes()
    (data / ".proxy_token").unlink()
    ended = install(data, "--no-start")
    assert ended.returncode == 0, ended.stderr
    assert (data / ".master_key").read_bytes() == key
    assert _mode(data / ".proxy_token") == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666])
def test_a_key_that_others_can_read_is_refused_and_stays_as_it_is(data: Path, mode: int) -> None:
    install(data, "--no-start")
    key = data / ".master_key"
    before = key.read_bytes()
    key.chmod(mode)
    ended = install(data, "--no-start")
    assert ended.returncode == 1
    assert "chmod 600" in ended.stdout + ended.stderr
    assert (key.read_bytes(), _mode(key)) == (before, mode)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 44])
def test_a_damaged_key_is_refused_and_stays_as_it_is(data: Path, content: bytes) -> None:
    install(data, "--no-start")
    (data / ".master_key").write_bytes(content)
    ended = install(data, "--no-start")
    assert ended.returncode == 1
    assert (data / ".master_key").read_bytes() == content


def test_a_vault_that_has_lost_its_key_gets_no_new_one(data: Path) -> None:
    install(data, "--no-start")
    (data / "proxy").mkdir(exist_ok=True)
    (data / "proxy" / "vault.sqlite").write_bytes(b"sealed")
    (data / ".master_key").unlink()
    ended = install(data, "--no-start")
    assert ended.returncode == 1
    assert "key" in ended.stdout + ended.stderr
    assert not (data / ".master_key").exists()
    assert (data / "proxy" / "vault.sqlite").read_bytes() == b"sealed"


def test_what_only_root_can_install_is_told_with_the_line_and_nothing_is_done(data: Path) -> None:
    bin_folder = data.parent / "stubs"
    bin_folder.mkdir()
    (bin_folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (bin_folder / "id").chmod(0o755)
    ended = install(data, "--no-start", PYTHON="false", PATH=f"{bin_folder}:{os.environ['PATH']}")
    assert ended.returncode == 3
    assert "apt-get install --yes --no-install-recommends python3-venv" in ended.stderr
    assert not data.exists()


def test_two_installations_at_once_do_not_meet(data: Path) -> None:
    descriptor = os.open(LOCK, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ended = install(data, "--no-start")
    finally:
        os.close(descriptor)
    assert ended.returncode == 1
    assert "another scripts/install.sh is at work" in ended.stderr
    assert not data.exists()


def test_the_command_knows_its_data_folder(data: Path) -> None:
    install(data, "--no-start")
    command = data.parent / "bin" / "mycelos"
    assert os.access(command, os.X_OK)
    script = command.read_text()
    assert f"MYCELOS_DATA_DIR:-{str(data).replace(' ', chr(92) + ' ')}" in script
    assert shlex.quote(str(Path(sys.prefix) / "bin" / "mycelos")) in script
    ended = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_command_of_that_name_that_is_not_ours_stays(data: Path) -> None:
    other = data.parent / "bin" / "mycelos"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho other\n")
    ended = install(data, "--no-start")
    assert ended.returncode == 0, ended.stderr
    assert "is not ours and stays" in ended.stdout
    assert other.read_text() == "#!/bin/sh\necho other\n"


def test_the_system_is_started_once_and_its_link_signs_in(data: Path, free_port: Callable[[], int]) -> None:
    ports = {"MYCELOS_PORT": str(free_port()), "MYCELOS_OPERATOR_PORT": str(free_port())}
    ended = install(data, **ports)
    try:
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "mycelos egress web on" in ended.stdout, "without a terminal the question is told and not asked"
        (link,) = re.findall(rf"http://localhost:{ports['MYCELOS_PORT']}/\S+", ended.stdout)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        with opener.open(link, timeout=10) as page:
            assert page.status == 200
        log = data / "run" / "serve.log"
        assert _mode(log) == 0o600
        assert "child.ready" in log.read_text()
        assert "login?code=" not in log.read_text()
        again = install(data, **ports)
        assert again.returncode == 0, again.stderr
        assert "already running" in again.stdout
    finally:
        _stop(data, ports)


@pytest.mark.parametrize(("typed", "answer"), [(b"y\n", "on"), (b"\n", "off")])
def test_at_a_terminal_the_first_start_asks_once_whether_agents_may_read_the_web(
    data: Path, free_port: Callable[[], int], typed: bytes, answer: str
) -> None:
    ports = {"MYCELOS_PORT": str(free_port()), "MYCELOS_OPERATOR_PORT": str(free_port())}
    try:
        first = _install_at_a_terminal(data, ports, typed)
        assert "Agents may read public web pages (GET and HEAD)? [y/N]" in first
        assert f"reading public web pages is {answer}" in first
        status = _mycelos(data, ports, "status", "--json")
        assert f'"web": "{answer}"' in status.stdout
        again = _install_at_a_terminal(data, ports, b"")
        assert "already running" in again
        assert "Agents may read" not in again
    finally:
        _stop(data, ports)


def _install_at_a_terminal(data: Path, ports: dict[str, str], typed: bytes) -> str:
    """What scripts/install.sh writes to a terminal on which ``typed`` was typed ahead."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            ["scripts/install.sh", "--data-dir", str(data), "--bin-dir", str(data.parent / "bin")],
            cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "VENV": str(Path(sys.prefix)), **ports},
        )  # fmt: skip
        os.close(theirs)
        terminal.write(typed)
        # A terminal without anybody at its other end ends with an error (EIO), not with an end of file.
        shown = b""
        with process, contextlib.suppress(OSError):
            while select.select([terminal], [], [], 120)[0]:
                shown += terminal.read(65536)
            process.kill()
    assert process.returncode == 0, shown
    return shown.decode()


def _mycelos(data: Path, ports: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.prefix) / "bin" / "mycelos", *words],
        env={**os.environ, "MYCELOS_DATA_DIR": str(data), **ports},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _stop(data: Path, ports: dict[str, str]) -> None:
    ended = _mycelos(data, ports, "stop")
    if ended.returncode != 0:
        for pid in re.findall(r'"pid": *(\d+)', (data / "run" / "supervisor.json").read_text()):
            os.kill(int(pid), signal.SIGKILL)
    assert ended.returncode == 0, ended.stderr
