"""One running installation for all tests of a file that only use it, and a fresh one for those that break it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running_system import RunningSystem, running_system

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def module_data() -> Iterator[Path]:
    """A data folder with a path short enough for sockets, for one file of tests."""
    # The sandbox's own users pass through it: no secret lies directly in it.
    folder = Path(tempfile.mkdtemp(prefix="m-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o711)
    yield data
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def system(module_data: Path) -> Iterator[RunningSystem]:
    """A furnished installation whose agent `gardener` may read GitHub and pages, and write nothing."""
    with running_system(module_data) as running:
        running.furnish("github.read", "web.read")
        yield running
