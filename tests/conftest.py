"""What every test may ask for. Depth, skips and the network are settings of the whole run, not of a test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from mycelos.configuration.layout import DataLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEPTHS = {"small": 50, "deep": 5_000}
"""MYCELOS_TEST_DEPTH: how many examples a property is tried with."""

for _name, _examples in DEPTHS.items():
    # Wall time says nothing on a shared machine: no deadline for one example. In the repository, a run gives
    # the same answer twice (derandomised); the deep one looks for what the small one has not met.
    hypothesis.settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        derandomize=_name == "small",
        database=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
    )


def pytest_configure(config: pytest.Config) -> None:
    depth = os.environ.get("MYCELOS_TEST_DEPTH", "small")
    if depth not in DEPTHS:
        message = f"MYCELOS_TEST_DEPTH must be one of {', '.join(DEPTHS)}, not {depth!r}"
        raise pytest.UsageError(message)
    hypothesis.settings.load_profile(depth)
    # A shell that starts the tests in the background has them ignore SIGINT, and each process that they start as
    # well: how a person's Ctrl-C ends a system could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With MYCELOS_TEST_NO_SKIP=1 a skip is a failure: continuous integration must have what the test needs."""
    result = yield
    report = result.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("MYCELOS_TEST_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where a skip is a failure: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole file."""
    result = yield
    report = result.get_result()
    if report.skipped and os.environ.get("MYCELOS_TEST_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped where a skip is a failure: {report.longrepr}"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has set for an installation does not reach a test."""
    for name in list(os.environ):
        if name.startswith("MYCELOS_") and not name.startswith("MYCELOS_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A new folder with a path so short that sockets in it stay below the 108 bytes of `sun_path`."""
    path = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data_directory(short_directory: Path) -> Path:
    """An empty data folder, mode 0700."""
    path = short_directory / "data"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def layout(data_directory: Path) -> DataLayout:
    return DataLayout(data_directory)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns a loopback port which nothing listens on, another one at each call."""
    given: set[int] = set()

    def find() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return find
