"""`mycelos lockdown`: everything that leaves stops, and whoever is signed in is signed out; and the way back."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated, Any, Final

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.gateway_answers import EndedAll
from mycelos.cli.gateway_client import client_of, running_state
from mycelos.cli.operator_command import operator_door
from mycelos.cli.output import CommandError, ExitCode, complain, print_json, say
from mycelos.configuration.layout import DataLayout
from mycelos.wire.problems import joined

_GATEWAY_SECONDS: Final = 10.0
_LATER: Final = (
    "Its sessions and runs end by themselves when it next reaches the proxy; nothing leaves until then either."
)


def lockdown(
    *,
    lift: Annotated[bool, Parameter(help="Let requests be decided again.", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """Stop all egress now, over restarts too, until it is lifted: streams are cut, runs, sessions and links end.

    Exit code 0 where all of it was done; 1 where egress is stopped and something else could not be done.

    Example: mycelos lockdown
    """
    with operator_door() as client:
        answer = client.set_lockdown(enabled=not lift)
    report: dict[str, Any] = {"locked": answer.locked, "since": answer.since}
    not_done = list(answer.shortcomings)
    if answer.locked:
        # The proxy first: what leaves is stopped before anybody is asked for anything.
        ended, fault = _end_all(DataLayout(settings_of(os.environ).data_directory))
        report |= ended
        not_done += [fault] if fault else []
    report["not_done"] = not_done
    if as_json:
        print_json(report)
    else:
        say(_text(report))
        for sentence in not_done:
            complain(sentence)
    return ExitCode.FAILED if not_done else ExitCode.DONE


def _end_all(layout: DataLayout) -> tuple[dict[str, int | None], str]:
    """How many sessions and runs have ended, and what was not done."""
    unknown: dict[str, int | None] = {"sessions": None, "runs": None}
    try:
        state = running_state(layout)
        if state is None:
            return unknown, f"The gateway does not run. {_LATER}"
        gateway = replace(client_of(layout, state), timeout=_GATEWAY_SECONDS)
        answer = gateway.post("api", "auth", "end-all", answer=EndedAll)
    except CommandError as error:
        # The gateway may be what the lockdown is for: whatever it answers, egress is stopped.
        return unknown, joined(str(error), _LATER)
    return {"sessions": answer.sessions, "runs": answer.runs}, ""


def _text(report: dict[str, Any]) -> str:
    if not report["locked"]:
        return "Not locked down: requests are decided again."
    since = report["since"] or "an unknown time"
    counted = ""
    if report["sessions"] is not None:
        counted = f" Ended: {report['sessions']} sessions, {report['runs']} runs."
    return f"Locked down since {since}: nothing leaves.{counted}\nLift it with: mycelos lockdown --lift"
