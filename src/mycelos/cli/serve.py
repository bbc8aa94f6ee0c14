"""`mycelos serve`: host mode in the foreground."""

from __future__ import annotations

import os
import sys

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, complain
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.checks import ServeRefusedError
from mycelos.supervisor.main import serve as run_supervisor
from mycelos.supervisor.state import SupervisorState


def serve() -> int:
    """Run proxy, vault page, sandbox spawner and gateway until Ctrl-C or `mycelos stop`.

    Example: mycelos serve --data-dir ./data
    """
    try:
        code = run_supervisor(os.environ, _announce)
    except ServeRefusedError as error:
        complain(str(error))
        return error.exit_code
    if code not in {ExitCode.DONE, ExitCode.FAILED, ExitCode.WRONG_USAGE, ExitCode.WALL_MISSING}:
        return ExitCode.FAILED
    return code


def _announce(state: SupervisorState) -> None:
    # Imported now that all is up: before, the processes would have waited for it.
    from mycelos.cli.gateway_client import client_of

    layout = DataLayout(settings_of(os.environ).data_directory)
    lines = [f"{child.name:<10} process {child.pid}" for child in state.children]
    lines.append(f"{'vault page':<10} {state.operator_url} (sign in with: mycelos open --operator)")
    try:
        link = client_of(layout, state).post("api", "auth", "link")["url"]
    except CommandError as error:
        # The system runs; only the convenience failed, and another link is one command away.
        complain(f"no one-time link could be made: {error}")
        link = "get a link with: mycelos open"
    lines.append(f"{'page':<10} {state.page_url}")
    lines.append(f"{'open once':<10} {link}")
    print("\n".join(lines), file=sys.stdout, flush=True)
