"""`mycelos doctor`: what this machine lacks, each finding with its fix."""

from __future__ import annotations

import os
from typing import Annotated, Final

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import ExitCode, print_json, say
from mycelos.configuration.layout import DataLayout


def doctor(
    *, as_json: Annotated[bool, Parameter(name="--json", help="The findings as JSON.", negative=())] = False
) -> int:
    """Look at walls, versions, file modes, disk, clock, certificates, routes and processes.

    Exit code 0 where all is well or can be lived with; 1 where something must be mended; 3 where a wall is missing.

    Example: mycelos doctor
    """
    # The checks load the sandbox and the ledger: not before help was asked for.
    from mycelos.cli.diagnosis import State, examine

    found = examine(DataLayout(settings_of(os.environ).data_directory))
    states = {diagnosis.state for diagnosis in found}
    code = ExitCode.DONE
    if State.FAILED in states:
        code = ExitCode.FAILED
    if State.WALL_MISSING in states:
        code = ExitCode.WALL_MISSING
    if as_json:
        findings = [{"name": one.name, "state": one.state.value, "found": one.found, "fix": one.fix} for one in found]
        print_json({"findings": findings, "exit_code": int(code)})
        return code
    for one in found:
        say(f"{_MARKS[one.state.value]:<8} {one.name}: {one.found}")
        if one.fix:
            say(f"         fix: {one.fix}")
    return code


_MARKS: Final = {"ok": "ok", "warning": "warning", "failed": "FAILED", "wall_missing": "MISSING"}
