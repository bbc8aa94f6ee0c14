"""The harnesses of tests/fuzz: what they have found before, what they find now, and that they find a planted fault.

An input that breaks a rule is left in tests/vectors/fuzz/NAME. Committed, it is tried again by each run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem.removeprefix("fuzz_") for path in (TESTS / "fuzz").glob("fuzz_*.py"))
VECTORS = TESTS / "vectors" / "fuzz"
DEEP = os.environ.get("MYCELOS_TEST_DEPTH") == "deep"
ROUNDS = range(3 if DEEP else 1)
# Deep: seven harnesses, three rounds, half an hour in all.
RUNS = {"scrub": 400}
"""How many runs are some seconds: 4000, but for what looks at long answers."""


def fuzz(name: str, corpus: Path, findings: Path, *options: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: run scripts/setup_fuzz.sh")
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, TESTS / "fuzz" / "run.py", name, corpus, findings, *options],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip


def harness(name: str) -> ModuleType:
    return importlib.import_module(f"fuzz_{name}")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all rounds: each goes on where the one before has ended."""
    return tmp_path_factory.mktemp("corpora")


def test_each_part_that_reads_foreign_bytes_has_its_harness() -> None:
    assert NAMES == ["answer", "export", "headers", "inject", "note", "scrub", "url"]
    assert {path.name for path in VECTORS.iterdir()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_once_and_every_seed_keep_the_rules(name: str) -> None:
    module = harness(name)
    found = [path.read_bytes() for path in sorted((VECTORS / name).glob("*"))]
    for data in [b"", *module.SEEDS, *found]:
        module.one_input(data)


@pytest.mark.parametrize("turn", ROUNDS)
@pytest.mark.parametrize("name", NAMES)
def test_no_input_that_the_fuzzer_makes_breaks_a_rule(
    name: str, turn: int, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpora / name
    shutil.copytree(VECTORS / name, corpus, dirs_exist_ok=True)
    length = ["-max_total_time=120"] if DEEP else [f"-runs={RUNS.get(name, 4000)}", "-seed=1"]
    ended = fuzz(name, corpus, VECTORS / name, *length)
    assert ended.returncode == 0, ended.stderr[-4000:]
    executed = re.search(r"number_of_executed_units: (\d+)", ended.stderr)
    covered = re.findall(r"cov: (\d+) ft: (\d+)", ended.stderr)
    assert executed is not None
    assert int(executed[1]) >= len(harness(name).SEEDS)
    # Without instrumentation the fuzzer would be blind and still content.
    assert int(covered[-1][0]) > 30
    if DEEP:
        with capsys.disabled():
            print(f"\nfuzz {name}, round {turn}: {executed[1]} runs, {covered[-1][0]} edges, {covered[-1][1]} features")


@pytest.mark.parametrize("name", NAMES)
def test_with_a_wall_taken_away_the_fuzzer_finds_the_fault_by_itself(name: str, tmp_path: Path) -> None:
    ended = fuzz(name, tmp_path / "corpus", tmp_path / "findings", "--planted", "-runs=100000", "-seed=1")
    assert ended.returncode != 0
    (found,) = (tmp_path / "findings").glob("crash-*")
    # With the wall in its place the same input breaks nothing.
    harness(name).one_input(found.read_bytes())
