"""The whole installation, from a fresh clone with an environment of its own, as root and as a plain user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

pytestmark = pytest.mark.machine


class Clone:
    """A fresh clone that belongs to one user, and programs run in it as that user."""

    def __init__(self, folder: Path, user: int, ports: dict[str, str]) -> None:
        self.folder = folder / "mycelos"
        self.data = self.folder / "data"
        self._user = user
        home = folder / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", ROOT, self.folder], check=True, timeout=60)
        subprocess.run(["chown", "-R", f"{user}:{user}", folder], check=True, timeout=60)
        # A plain PATH: the interpreter must be one that every user of the machine has.
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "CERT" in name}
        self._environment = {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), **ports}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)), cwd=self.folder, env=self._environment, user=self._user, group=self._user,
            extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=420, check=False,
        )  # fmt: skip


@pytest.fixture(params=[0, NOBODY], ids=["root", "user"])
def clone(request: pytest.FixtureRequest, short_directory: Path, free_port: Callable[[], int]) -> Iterator[Clone]:
    if os.getuid() != 0:
        pytest.skip("root is needed to be several users")
    short_directory.chmod(0o755)
    ports = {"MYCELOS_PORT": str(free_port()), "MYCELOS_OPERATOR_PORT": str(free_port())}
    clone = Clone(short_directory, request.param, ports)
    yield clone
    clone.run(".venv/bin/mycelos", "stop")
    shutil.rmtree(clone.folder, ignore_errors=True)


def test_a_fresh_clone_is_installed_runs_and_signs_a_person_in(clone: Clone) -> None:
    installed = clone.run("scripts/install.sh", "--bin-dir", clone.folder.parent / "home" / "bin")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    (link,) = re.findall(r"http://localhost:\d+/\S+", installed.stdout)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
    with opener.open(link, timeout=10) as page:
        assert page.status == 200

    status = clone.run(clone.folder.parent / "home" / "bin" / "mycelos", "status", "--json")
    assert status.returncode == 0, status.stderr
    report = json.loads(status.stdout)
    assert report["healthy"]
    assert report["data_directory"] == str(clone.data)
    assert {process["name"] for process in report["processes"]} == {
        "supervisor", "proxy", "operator", "spawner", "gateway",
    }  # fmt: skip
    print(json.dumps(report["processes"]))

    # The clone lies below /tmp, where the sandbox has a folder of its own: agents must start all the same.
    probe = clone.run(".venv/bin/mycelos", "sandbox", "probe")
    assert probe.returncode == 0, probe.stdout + probe.stderr

    # What was installed is the project itself, from a wheel, and no tool of its developers.
    listed = clone.run(".venv/bin/python", "-m", "pip", "list", "--format", "json")
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert "mycelos" in names
    assert names.isdisjoint({"pytest", "mypy", "ruff", "hypothesis", "playwright", "xllamacpp"})

    key = (clone.data / ".master_key").read_bytes()
    again = clone.run("scripts/install.sh", "--bin-dir", clone.folder.parent / "home" / "bin")
    assert again.returncode == 0, again.stderr
    assert "already running" in again.stdout
    assert "installing the locked requirements" not in again.stdout
    assert (clone.data / ".master_key").read_bytes() == key
