"""The switches of the whole run work: a skip fails where none is allowed, and a depth that is unknown is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def _run(folder: Path, test: str, *options: str, **switches: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder, *options],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder,
        env={"PATH": os.environ["PATH"], **switches},
    )  # fmt: skip


@pytest.mark.parametrize(
    "test",
    [
        "import pytest\n\ndef test_a():\n    pytest.skip('not here')\n",
        "import pytest\n\n@pytest.mark.skip(reason='not here')\ndef test_a(): ...\n",
        "import pytest\n\npytest.importorskip('module_that_is_not_there')\n",
    ],
    ids=["inside", "mark", "whole file"],
)
def test_a_skip_is_a_failure_where_none_is_allowed(tmp_path: Path, test: str) -> None:
    assert _run(tmp_path, test).returncode in {0, 5}
    refused = _run(tmp_path, test, MYCELOS_TEST_NO_SKIP="1")
    assert refused.returncode not in {0, 5}
    assert "skipped where a skip is a failure" in refused.stdout


def test_an_unknown_depth_is_refused(tmp_path: Path) -> None:
    ended = _run(tmp_path, "def test_a(): ...\n", MYCELOS_TEST_DEPTH="abyss")
    assert ended.returncode == 4
    assert "MYCELOS_TEST_DEPTH must be one of small, deep" in ended.stderr


def test_the_depth_of_this_run_is_the_one_asked_for() -> None:
    depth = os.environ.get("MYCELOS_TEST_DEPTH", "small")
    assert hypothesis.settings.default.max_examples == {"small": 50, "deep": 5000}[depth]


def test_a_test_that_does_not_end_fails_by_its_name_and_the_run_goes_on(tmp_path: Path) -> None:
    test = "import threading\n\ndef test_a():\n    threading.Event().wait()\n\ndef test_b(): ...\n"
    current = tmp_path / "current"
    ended = _run(tmp_path, test, "-o", "faulthandler_timeout=3", MYCELOS_TEST_CURRENT=str(current))
    assert ended.returncode == 1
    assert "1 failed, 1 passed" in ended.stdout
    assert "FAILED test_it.py::test_a - Failed: test_it.py::test_a does not end" in ended.stdout
    assert current.read_text() == "test_it.py::test_b\n"


def test_settings_of_an_installation_do_not_reach_a_test() -> None:
    assert not [name for name in os.environ if name.startswith("MYCELOS_") and not name.startswith("MYCELOS_TEST_")]


def test_sockets_fit_into_the_short_folder(data_directory: Path) -> None:
    assert len(str(data_directory / "proxy" / "operator.sock")) < 60


def test_free_ports_differ(free_port: Callable[[], int]) -> None:
    assert len({free_port() for _ in range(20)}) == 20


def test_an_interrupt_reaches_what_a_test_starts_also_where_the_tests_run_in_the_background(tmp_path: Path) -> None:
    test = "import signal\n\ndef test_a():\n    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended = _run(tmp_path, test)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.returncode == 0, ended.stdout
