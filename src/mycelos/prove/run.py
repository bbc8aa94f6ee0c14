"""Which probe shows which claim, and running them. What goes wrong in a probe is never taken for a wall that held."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.claims import BY_ID, CLAIMS
from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import credentials, egress, page, policy, trail, walls
from mycelos.prove.outcome import CannotShowError, Finding, ProbeResult, Shown
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation


@dataclass(frozen=True)
class Probe:
    """One claim's probe."""

    shown: Shown
    attempt: Callable[[Installation], list[Finding]]


PROBES: Final = {
    "F1": Probe(Shown.TWIN, trail.probe_fail_closed),
    "D2": Probe(Shown.LIVE, walls.probe_key_from_gateway),
    "D3": Probe(Shown.TWIN, credentials.probe_bearer),
    "D4": Probe(Shown.LIVE, walls.probe_gateway_walls),
    "V1": Probe(Shown.TWIN, credentials.probe_storage),
    "V2": Probe(Shown.LIVE, credentials.probe_key_file),
    "I5": Probe(Shown.LIVE, page.probe_credential_list),
    "S1": Probe(Shown.TWIN, egress.probe_addresses),
    "P1": Probe(Shown.TWIN, policy.probe_capabilities),
    "P2": Probe(Shown.TWIN, policy.probe_broker),
    "A2": Probe(Shown.LIVE, page.probe_page),
    "L2": Probe(Shown.LIVE, trail.probe_verification),
    "L3": Probe(Shown.LIVE, trail.probe_looking),
    "L4": Probe(Shown.TWIN, trail.probe_records),
    "B1": Probe(Shown.LIVE, walls.probe_sandbox),
}


def choose(wanted: Iterable[str]) -> tuple[str, ...]:
    """The claims to show: those wanted, or all that have a probe, in the order of the list of claims.

    Raises:
        ValueError: there is no such claim; the text names those that can be shown.
    """
    identifiers = tuple(dict.fromkeys(name.upper() for name in wanted))
    unknown = [name for name in identifiers if name not in BY_ID]
    if unknown:
        message = f"there is no claim {', '.join(unknown)}; those that can be shown: {', '.join(PROBES)}"
        raise ValueError(message)
    return tuple(claim.id for claim in CLAIMS if claim.id in (identifiers or PROBES))


def prove(installation: Installation, identifiers: Iterable[str]) -> Iterator[ProbeResult]:
    """One result after the other."""
    for identifier in identifiers:
        yield _show(installation, identifier)


def _show(installation: Installation, identifier: str) -> ProbeResult:
    claim = BY_ID[identifier]
    probe = PROBES.get(identifier)
    if probe is None:
        return ProbeResult(claim, Shown.EVIDENCE, (), claim.deferred or "there is no probe for it")
    try:
        return ProbeResult(claim, probe.shown, tuple(probe.attempt(installation)))
    except CannotShowError as error:
        obstacle = str(error)
    except (Refusal, OperatorUnavailableError) as error:
        obstacle = f"the probe was refused what it needs: {error}"
    except (OSError, sqlite3.Error, ExceptionGroup) as error:
        obstacle = f"the probe could not be run here ({type(error).__name__})"
    return ProbeResult(claim, probe.shown, (), obstacle)
