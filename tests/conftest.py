"""What every test may ask for. Depth, skips and the network are settings of the whole run, not of a test."""

from __future__ import annotations

import contextlib
import gc
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


def _temporary_folder() -> str:
    """A place with a path so short that sockets below it stay within the 108 bytes of `sun_path`.

    The memory that `scripts/offline.sh` has prepared, where it can all that a disk can (attributes: Linux 6.6).
    """
    if folder := os.environ.get("MYCELOS_TEST_FOLDER"):
        with contextlib.suppress(OSError):
            os.setxattr(folder, "user.mycelos", b"")
            return folder
    return "/tmp"


def pytest_configure(config: pytest.Config) -> None:
    depth = os.environ.get("MYCELOS_TEST_DEPTH", "small")
    if depth not in DEPTHS:
        message = f"MYCELOS_TEST_DEPTH must be one of {', '.join(DEPTHS)}, not {depth!r}"
        raise pytest.UsageError(message)
    hypothesis.settings.load_profile(depth)
    tempfile.tempdir = _temporary_folder()
    # A shell that starts the tests in the background has them ignore SIGINT, and each process that they start as
    # well: how a person's Ctrl-C ends a system could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that does not end fails by name, with the place where it stood, and the run goes on.

    A sixth before `faulthandler_timeout`, which ends the run without a summary: that is for what no signal interrupts.
    Whoever stops a run, or sees it stopped, finds the name of the test in the file MYCELOS_TEST_CURRENT.
    """
    if current := os.environ.get("MYCELOS_TEST_CURRENT"):
        Path(current).write_text(f"{item.nodeid}\n", encoding="utf-8")

    def give_up(*_: object) -> None:
        pytest.fail(f"{item.nodeid} does not end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, float(item.config.getini("faulthandler_timeout")) * 5 / 6)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _set_aside() -> None:
    """Take what is alive between two files out of the garbage collector's sight: it stays until the end of the run.

    The collected tests and their reports are more than half a million objects. The vault page collects after each
    form, so that its process keeps nothing of what was posted: with them to look through, a test that sends hundreds
    of forms took minutes.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    _set_aside()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        _set_aside()


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


@pytest.fixture(autouse=True, scope="session")
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests' installations remember outside of their data folders lies in no person's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A new folder with a path so short that sockets in it stay below the 108 bytes of `sun_path`."""
    path = Path(tempfile.mkdtemp(prefix="m-"))
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
