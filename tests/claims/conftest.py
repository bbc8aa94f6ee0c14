"""One running installation for the attacks of a file, with a credential, an agent and a remembered head.

And what a test needs that takes a wall of the proxy away.
"""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running_system import RunningSystem, running_system

from mycelos.prove import twin
from mycelos.prove.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def system() -> Iterator[RunningSystem]:
    folder = Path(tempfile.mkdtemp(prefix="m-"))
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


@pytest.fixture
def stopped(layout) -> Installation:
    """An installation where nothing runs."""
    return Installation(layout, None)


@pytest.fixture
def proxy_without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes every twin run the proxy after a patch."""

    def patch(text: str) -> None:
        monkeypatch.setattr(twin, "PROGRAM", f"{textwrap.dedent(text)}\n{twin.PROGRAM}")

    return patch
