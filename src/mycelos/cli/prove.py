"""`mycelos prove`: the claims' attacks against the installation that runs here."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, print_json, say
from mycelos.configuration.layout import DataLayout
from mycelos.prove.outcome import CannotShowError, ProbeResult, Standing, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WORDS: Final = {Standing.HOLDS: "holds", Standing.BROKEN: "BROKEN", Standing.CANNOT_TELL: "cannot tell"}


def prove(
    *claims: str,
    as_json: Annotated[bool, Parameter(name="--json", help="The results as JSON.", negative=())] = False,
    verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), help="Each attempt.", negative=())] = False,
) -> int:
    """Attack this installation and say which claims hold.

    Exit code 0 only when each holds; 3 when a wall is missing; 6 when something could not be shown.

    Example: mycelos prove V1 S1

    Parameters
    ----------
    claims
        Identifiers such as V1; all that can be shown where none is given.
    """
    # The probes load the code of every zone: not before help was asked for.
    from mycelos.prove.installation import find_installation
    from mycelos.prove.run import choose
    from mycelos.prove.run import prove as run_probes

    layout = DataLayout(settings_of(os.environ).data_directory)
    try:
        identifiers = choose(claims)
    except ValueError as error:
        raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None
    try:
        installation = find_installation(layout)
    except CannotShowError as error:
        raise CommandError(str(error), exit_code=ExitCode.CANNOT_TELL) from None
    results = []
    for number, identifier in enumerate(identifiers, 1):
        with _at(f"{identifier}, {number} of {len(identifiers)} ..."):
            (result,) = run_probes(installation, (identifier,))
        results.append(result)
        if not as_json:
            _show(result, verbose=verbose)
    if as_json:
        print_json({"claims": [_as_json(result) for result in results], "exit_code": exit_code(results)})
    else:
        _conclude(results)
    return exit_code(results)


@contextmanager
def _at(what: str) -> Iterator[None]:
    """Says on a terminal what is at work, in a line that goes with it."""
    is_watched = sys.stderr.isatty()
    if is_watched:
        say(what, end="\r", stream=sys.stderr)
    try:
        yield
    finally:
        if is_watched:
            say(" " * len(what), end="\r", stream=sys.stderr)


def _show(result: ProbeResult, *, verbose: bool) -> None:
    claim = result.claim
    say(f"{claim.id:<3} {_WORDS[result.standing]:<12} [{result.shown.value}] {claim.text}")
    for finding in result.findings:
        if verbose or not finding.held:
            mark = "ok " if finding.held else "NOT"
            say(f"      {mark} {finding.tried}: {finding.happened}")
    if not verbose and result.standing is Standing.HOLDS:
        say(f"      tried: {len(result.findings)}, each refused or as promised (see them with --verbose)")
    if result.obstacle:
        say(f"      not shown: {result.obstacle}")
    say(f"      not covered: {claim.not_covered}")
    sys.stdout.flush()


def _conclude(results: Iterable[ProbeResult]) -> None:
    count = dict.fromkeys(Standing, 0)
    for result in results:
        count[result.standing] += 1
    say(
        f"\n{count[Standing.HOLDS]} hold, {count[Standing.BROKEN]} broken, "
        f"{count[Standing.CANNOT_TELL]} could not be shown"
    )


def _as_json(result: ProbeResult) -> dict[str, Any]:
    return {
        "id": result.claim.id,
        "claim": result.claim.text,
        "standing": result.standing.value,
        "shown": result.shown.value,
        "obstacle": result.obstacle,
        "findings": [{"tried": one.tried, "happened": one.happened, "held": one.held} for one in result.findings],
        "not_covered": result.claim.not_covered,
    }
