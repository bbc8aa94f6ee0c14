"""`mycelos demo`, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_system import clean_environment, wait_until


def test_the_tour_ends_with_what_it_has_shown_and_leaves_nothing_behind(short_directory) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "mycelos.cli.main", "demo"],
        env=clean_environment(TMPDIR=str(short_directory)),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()[-4:]
    assert [line.partition(":")[0].split(maxsplit=1) for line in lines] == [
        ["shown", "the agent's answer"],
        ["shown", "the refused write"],
        ["shown", "the refused theft"],
        ["shown", "the verified ledger"],
    ]
    assert "[scripted]" in done.stdout
    assert list(short_directory.iterdir()) == []


def processes_of(folder: Path) -> list[str]:
    """The processes that have ``folder`` in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in told:
                found.append(entry.name)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_kept_tour_ends_with_everything_that_it_started(short_directory: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-I", "-m", "mycelos.cli.main", "demo", "--keep"]
    environment = clean_environment(TMPDIR=str(short_directory))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = next((line for line in process.stdout if "stays open" in line), "")
        assert said
        process.send_signal(number)
        process.stdout.read()
        process.wait(60)
    wait_until(lambda: not processes_of(short_directory), "every process of the tour ends")
    if number is not signal.SIGKILL:
        assert list(short_directory.iterdir()) == []
