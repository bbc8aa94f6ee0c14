"""`mycelos demo`, as a person runs it."""

from __future__ import annotations

import subprocess
import sys

from running_system import clean_environment


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
