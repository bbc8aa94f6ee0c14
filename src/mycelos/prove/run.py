"""Which probe shows which claim, and running them. What goes wrong in a probe is never taken for a wall that held."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.claims import BY_ID, CLAIMS
from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import (
    bindings,
    canary_run,
    credentials,
    egress,
    everything,
    failures,
    injection,
    keeper,
    materialize,
    memory,
    page,
    plain_text,
    policy,
    trail,
    vault_page,
    walls,
)
from mycelos.prove.outcome import CannotShowError, Finding, ProbeResult, Shown
from mycelos.supervisor.code_age import RESTART, older_than_code
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation


Attempt = Callable[["Installation"], list[Finding]]


@dataclass(frozen=True)
class Probe:
    """One claim's probe. A twin's may have attempts beside it ``on_the_running`` installation."""

    made: Shown
    attempt: Attempt
    on_the_running: Attempt | None = None

    @property
    def shown(self) -> Shown:
        """How the claim is shown by all of it."""
        return self.made if self.on_the_running is None else Shown.LIVE_AND_TWIN


PROBES: Final = {
    "F1": Probe(Shown.TWIN, trail.probe_fail_closed),
    "D2": Probe(Shown.LIVE, keeper.probe_keeper),
    "D3": Probe(Shown.TWIN, bindings.probe_bearer),
    "D4": Probe(Shown.LIVE, walls.probe_gateway_walls),
    "V1": Probe(Shown.TWIN, credentials.probe_storage),
    "V2": Probe(Shown.LIVE, credentials.probe_key_file),
    "V3": Probe(Shown.TWIN, memory.probe_use),
    "V4": Probe(Shown.TWIN, plain_text.probe_gateway, vault_page.probe_vault_page),
    "V5": Probe(Shown.TWIN, materialize.probe_materialize),
    "I1": Probe(Shown.TWIN, canary_run.probe_models),
    "I2": Probe(Shown.TWIN, canary_run.probe_logs),
    "I3": Probe(Shown.TWIN, failures.probe_failures),
    "I4": Probe(Shown.TWIN, canary_run.probe_memories),
    "I5": Probe(Shown.LIVE, page.probe_credential_list),
    "S1": Probe(Shown.TWIN, egress.probe_egress),
    "S2": Probe(Shown.TWIN, injection.probe_injection),
    "P1": Probe(Shown.TWIN, policy.probe_capabilities),
    "P2": Probe(Shown.TWIN, policy.probe_broker),
    "A2": Probe(Shown.LIVE, page.probe_page),
    "L1": Probe(Shown.TWIN, everything.probe_everything, everything.probe_link),
    "L2": Probe(Shown.TWIN, trail.probe_forks, trail.probe_verification),
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
    findings, obstacle = _try(probe.attempt, installation)
    obstacles = [obstacle]
    if probe.on_the_running is not None:
        more, obstacle = _try(probe.on_the_running, installation)
        findings += more
        obstacles.append(obstacle)
    if probe.made is Shown.TWIN:
        obstacles.append(_other_code(installation))
    return ProbeResult(claim, probe.shown, tuple(findings), "; ".join(filter(None, obstacles)))


def _try(attempt: Attempt, installation: Installation) -> tuple[list[Finding], str]:
    """What came of it, and what was in its way; what was found before that shows nothing."""
    try:
        return attempt(installation), ""
    except CannotShowError as error:
        obstacle = str(error)
    except (Refusal, OperatorUnavailableError) as error:
        obstacle = f"the probe was refused what it needs: {error}"
    except (OSError, sqlite3.Error, ExceptionGroup) as error:
        obstacle = f"the probe could not be run here ({type(error).__name__})"
    return [], obstacle


def _other_code(installation: Installation) -> str:
    """Why a twin shows nothing of what runs: it has the code of now, and what runs has another."""
    if installation.state is None:
        return ""
    try:
        older = older_than_code(installation.state)
    except OSError:
        return "when the installed code was last changed cannot be read, so a twin shows nothing of what runs"
    if not older:
        return ""
    since = "run since before the installed code was last changed"
    return f"a twin shows nothing of what runs: {', '.join(older)} {since}. {RESTART}"
