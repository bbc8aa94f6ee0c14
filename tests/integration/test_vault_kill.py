"""A proxy's stores are killed in the middle of the operator's changes: the next start goes on, and nothing is lost."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kept_installation import kept

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery

pytestmark = pytest.mark.anyio

# Changes the secret again and again, and says which one is acknowledged. In between, rules and lockdown.
PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from kept_installation import kept
from mycelos.configuration.layout import DataLayout

async def main():
    async with kept(DataLayout(Path(sys.argv[1])), {"XDG_STATE_HOME": sys.argv[2]}) as installation:
        first = int(sys.argv[3])
        if installation.vault.find("github") is None:
            await installation.store("github", f"the-secret-{first}")
        for number in range(first, first + 10_000):
            await installation.rotate("github", f"the-secret-{number}")
            os.write(1, f"{number}\\n".encode())
            await installation.set_web(enabled=number % 2 == 0)
            if number % 5 == 0:
                await installation.step.set()
                await installation.step.lift()

asyncio.run(main())
"""
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def run_and_kill(layout: DataLayout, state: Path, first: int, lines: int) -> int:
    """Start, kill after so many acknowledged secrets, and return the last one that was acknowledged."""
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    command = [sys.executable, "-c", PROGRAM, str(layout.root), str(state), str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    said = b""
    try:
        while said.count(b"\n") < lines:
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, "nothing was said for a minute"
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, "the start was refused, or the program ended by itself"
            said += piece
    finally:
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        process.stdout.close()
        assert process.wait(60) == -signal.SIGKILL
    return int(said[: said.rindex(b"\n")].rsplit(b"\n", 1)[-1])


async def test_after_kill_9_in_the_middle_of_changes_the_next_start_goes_on(layout: DataLayout, tmp_path: Path) -> None:
    state = tmp_path / "state"
    acknowledged = 0
    for kill in range(8):
        acknowledged = run_and_kill(layout, state, acknowledged + 1, 3 + 4 * kill)
    async with kept(layout, {"XDG_STATE_HOME": str(state)}) as installation:
        credential = installation.vault.find("github")
        assert credential is not None
        with installation.vault.open_secret(credential) as secret:
            found = int(secret.reveal().decode().rpartition("-")[2])
        # The one acknowledged, or the one that was on its way.
        assert found in {acknowledged, acknowledged + 1}
        restarts = await installation.recorder.events(EventQuery(event=Event.PROXY_STARTED.value, limit=100))
        assert len(restarts) == 9
