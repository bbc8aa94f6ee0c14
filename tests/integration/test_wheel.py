"""The wheel holds the whole package: code, templates, static files, migrations, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "src/mycelos"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = {name.removeprefix("src/") for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert files - set(wheel.namelist()) == set()
    assert any(name.endswith(".html") for name in files)


def test_the_wheel_holds_nothing_but_the_package_and_its_description(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    # Beside it the locks that `mycelos local install` installs from.
    data = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    assert data == {"share/mycelos/local-model.txt", "share/mycelos/local-model-file.txt"}
    assert {name.partition("/")[0] for name in names if ".data/" not in name} == {"mycelos"}
    assert not [name for name in wheel.namelist() if "__pycache__" in name]


def test_the_wheel_carries_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
    assert b"Apache License" in wheel.read(licence)
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert wheel.read(entry_points).decode().split() == ["[console_scripts]", "mycelos", "=", "mycelos.cli.main:main"]
