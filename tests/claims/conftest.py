"""One running installation for the attacks of a file, with a credential, an agent and a remembered head."""

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
def system() -> Iterator[RunningSystem]:
    folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o711)
    try:
        with running_system(data) as running:
            running.furnish("github.read")
            running.mycelos("db", "audit", "verify")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
