"""`mycelos sandbox`: attack the sandbox of this machine, or run a command inside it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import cyclopts
import msgspec

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import complain, print_json, say
from mycelos.sandbox import process, process_tree
from mycelos.sandbox.errors import SandboxRefused
from mycelos.sandbox.mechanism import RunUsers, choose_sandbox, start_test
from mycelos.sandbox.plan import Execute
from mycelos.sandbox.probe import PROBED_PROFILES, run_probes
from mycelos.sandbox.profiles import COMMAND_PROFILES
from mycelos.sandbox.workspace import OpenWorkspace, open_workspace

if TYPE_CHECKING:
    from mycelos.sandbox.probe import ProbeReport

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
WALL_MISSING: Final = 3
TIMED_OUT: Final = 124
_LONGEST_TIMEOUT: Final = 365 * 24 * 3600

app = cyclopts.App(name="sandbox", help="The walls around agents: attack them, or run a command inside.")


@app.command
def probe(
    *, profile: str = "agent", as_json: Annotated[bool, cyclopts.Parameter(name="--json", negative=())] = False
) -> int:
    """Start a process in the sandbox and let it attack; exit 0 only when every wall holds.

    Example: mycelos sandbox probe

    Parameters
    ----------
    profile
        The walls to attack from inside: `agent` for those of an agent, `tools` for those of ordinary programs.
    as_json
        Print the results as JSON.
    """
    if profile not in PROBED_PROFILES:
        complain(f"There is no profile {profile} to probe; there are: {', '.join(PROBED_PROFILES)}")
        return WRONG_USAGE
    try:
        report = run_probes(PROBED_PROFILES[profile])
    except SandboxRefused as refused:
        return _refused(refused)
    if as_json:
        print_json(msgspec.to_builtins(report) | {"holds": report.holds})
    else:
        _print(report)
    return DONE if report.holds else FAILED


@app.command
def run(
    *command: Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)],
    profile: str = "tools",
    workspace: Path | None = None,
    timeout: float | None = None,
) -> int:
    """Run a command in the sandbox and pass its exit code on: no network, nothing writable but one folder.

    Example: mycelos sandbox run --workspace . -- python3 -c 'print(1)'

    Parameters
    ----------
    command
        The command and its arguments, after `--`.
    profile
        `tools` for ordinary programs; `agent` for an agent's own walls: one process, one thread.
    workspace
        The folder that the command may write; an empty one for this run where none is given. Started by root it
        belongs to the run's own user meanwhile, and what the command made in it afterwards too.
    timeout
        Seconds after which the command is ended, with exit code 124.
    """
    if not command:
        complain("Name a command after --")
        return WRONG_USAGE
    if timeout is not None and not 0 < timeout <= _LONGEST_TIMEOUT:
        complain(f"--timeout must be a number of seconds above 0 and up to {_LONGEST_TIMEOUT}")
        return WRONG_USAGE
    if profile not in COMMAND_PROFILES:
        complain(f"There is no profile {profile}; there are: {', '.join(COMMAND_PROFILES)}")
        return WRONG_USAGE
    try:
        if workspace is not None:
            data = settings_of(os.environ).data_directory
            return _run(command, profile, workspace.absolute(), timeout, data)
        with tempfile.TemporaryDirectory(prefix="mycelos-workspace-") as folder:
            return _run(command, profile, Path(folder), timeout)
    except SandboxRefused as refused:
        return _refused(refused)


def _run(
    command: tuple[str, ...], profile: str, folder: Path, timeout: float | None, data_directory: Path | None = None
) -> int:
    process_tree.become_reaper()
    sandbox = choose_sandbox(start_test)
    user = RunUsers().take()
    opened: OpenWorkspace = open_workspace(folder, user, data_directory)
    try:
        plan = sandbox.plan(COMMAND_PROFILES[profile], opened.place, Execute(command), user)
        confined = process.start(plan, channel=None, workspace=opened.descriptor, inherit_output=True)
        try:
            confined.wait_armed()
            ending = confined.wait(timeout)
        finally:
            confined.end(spared=())
            confined.close()
    finally:
        opened.give_back()
        opened.close()
    if ending is None:
        complain(f"ended after {timeout:g} seconds")
        return TIMED_OUT
    return ending[0]


def _refused(refused: SandboxRefused) -> int:
    complain(str(refused))
    return WALL_MISSING


def _print(report: ProbeReport) -> None:
    for result in report.results:
        word = "held" if result.held else "open, as documented" if result.as_promised else "OPEN"
        say(f"{word:<20} {result.sentence} ({result.detail})")
    held = sum(result.held for result in report.results)
    say(f"{held} of {len(report.results)} attacks held off, by {report.mechanism}")
    if report.passed_over:
        say(report.passed_over)
