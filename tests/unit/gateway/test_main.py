"""The start, as a process: a master key, a bad setting or a missing wall is one line and exit code 1."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.main import refuse_master_key

WAIT = 60


def start(data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = str(listener.fileno())
        return subprocess.run(
            [
                sys.executable,
                "-I",
                "-m",
                "mycelos.gateway",
                "--data-dir",
                str(data),
                "--listen-fd",
                number,
                "--control-fd",
                number,
                "--spawner-fd",
                number,
            ],
            env={"PATH": "/usr/bin:/bin", **environment},
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )


@pytest.mark.parametrize("name", ["MYCELOS_MASTER_KEY", "MYCELOS_MASTER_KEY_FILE"])
def test_a_gateway_that_finds_the_master_key_does_not_start(data_directory: Path, name: str) -> None:
    ended = start(data_directory, **{name: "S3cret-value-of-the-key"})
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert name in ended.stderr
    assert "S3cret" not in ended.stderr + ended.stdout
    assert not (data_directory / "gateway").exists()


def test_without_the_check_the_key_would_be_in_the_process() -> None:
    refuse_master_key({"MYCELOS_PORT": "9100"})
    with pytest.raises(ConfigurationError, match="MYCELOS_MASTER_KEY_FILE"):
        refuse_master_key({"MYCELOS_MASTER_KEY_FILE": "/x"})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MYCELOS_PRT": "1"}, "the nearest one that exists is MYCELOS_PORT"),
        ({}, "MYCELOS_PROXY_TOKEN is not set"),
        ({"MYCELOS_PROXY_TOKEN": "T" * 43}, "MYCELOS_PROXY_URL is not set"),
        ({"MYCELOS_PROXY_TOKEN": "T" * 43, "MYCELOS_PROXY_URL": "fd:99"}, "MYCELOS_PROXY_URL must be"),
        ({"MYCELOS_BIND": "192.0.2.1"}, "MYCELOS_PASSWORD"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(
    data_directory: Path, environment: dict[str, str], expected: str
) -> None:
    ended = start(data_directory, **environment)
    assert ended.returncode == 1
    assert expected in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_key_in_its_file_is_one_line(data_directory: Path) -> None:
    folder = data_directory / "gateway"
    folder.mkdir()
    (folder / "gateway.toml").write_text("[runs]\nmodel_request = 3\n")
    ended = start(data_directory)
    assert (ended.returncode, "the nearest one that exists is model_requests" in ended.stderr) == (1, True)


def test_what_the_system_refuses_is_one_line_with_type_and_place(data_directory: Path) -> None:
    (data_directory / "gateway").mkdir()
    (data_directory / "gateway" / "state").touch()
    ended = start(data_directory)
    assert ended.returncode == 1
    assert re.fullmatch(
        r"mycelos gateway: the system refused \(FileExistsError EEXIST at [a-z._]+:\d+\); see disk space and rights\n",
        ended.stderr,
    )
