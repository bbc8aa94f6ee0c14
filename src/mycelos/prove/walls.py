"""D2, D4, B1: attacks from processes that are confined like the gateway and like a run of an agent."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.sandbox.errors import SandboxRefused
from mycelos.sandbox.probe import ProbeReport, gateway_probes, run_probes
from mycelos.sandbox.profiles import AGENT, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.prove.installation import Installation

_KEEPERS: Final = frozenset({"read-kept", "connect-kept"})
_SECCOMP_FILTER: Final = "2"


def probe_key_from_gateway(installation: Installation) -> list[Finding]:
    """D2: key, vault, ledger and sockets from a process confined like the gateway; the key in other processes."""
    report = _attack(lambda: gateway_probes(installation.layout.root))
    findings = _refusals(report) if isinstance(report, Finding) else _each(report, _KEEPERS)
    for name in ("gateway", "operator", "spawner"):
        findings.append(_environment(name, installation.process(name)))
    return findings


def probe_gateway_walls(installation: Installation) -> list[Finding]:
    """D4: every attack from a process confined like the gateway; and whether the running one is confined."""
    report = _attack(lambda: gateway_probes(installation.layout.root))
    findings = _refusals(report) if isinstance(report, Finding) else _summary(report, "the gateway")
    return [*findings, _is_confined("gateway", installation), _is_confined("operator", installation)]


def probe_sandbox(_installation: Installation) -> list[Finding]:
    """B1: every attack from inside a run, and from inside the sandbox of ordinary programs."""
    findings = []
    for profile, who in ((AGENT, "a run"), (TOOLS, "a program")):
        report = _attack(partial(run_probes, profile))
        findings += _refusals(report) if isinstance(report, Finding) else _summary(report, who)
    return findings


def _attack(attack: Callable[[], ProbeReport]) -> ProbeReport | Finding:
    try:
        return attack()
    except SandboxRefused as refusal:
        happened = f"the wall {refusal.layer.value} is missing: {refusal.cause}. {refusal.fix}"
        return Finding("put up the walls", happened, held=False)


def _refusals(finding: Finding) -> list[Finding]:
    return [finding]


def _each(report: ProbeReport, names: frozenset[str]) -> list[Finding]:
    return [
        Finding(f"from a process confined like the gateway: {result.sentence}", result.detail, result.as_promised)
        for result in report.results
        if result.name in names
    ]


def _summary(report: ProbeReport, who: str) -> list[Finding]:
    """One finding for all that held, one for each that did not."""
    open_ = [result for result in report.results if not result.as_promised]
    promised = [result.name for result in report.results if not result.held and result.as_promised]
    held = len(report.results) - len(open_) - len(promised)
    means = f"{report.mechanism}, {held} refused" + (f"; open by design: {', '.join(promised)}" if promised else "")
    return [
        Finding(f"{len(report.results)} attacks from a process confined like {who}", means, held=held > 0),
        *(Finding(f"{who}, confined, {result.sentence}", result.detail, held=False) for result in open_),
    ]


def _environment(name: str, pid: int) -> Finding:
    tried = f"find the master key in the environment of the {name}"
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return Finding(tried, "it cannot be read, not even by its owner", held=True)
    except OSError:
        raise _gone(name) from None
    names = {entry.partition(b"=")[0].decode("utf-8", "replace") for entry in environment.split(b"\0") if entry}
    keys = sorted(name for name in names if name.startswith("MYCELOS_MASTER_KEY"))
    return Finding(tried, f"it has {', '.join(keys)}" if keys else "it is not there", held=not keys)


def _is_confined(name: str, installation: Installation) -> Finding:
    tried = f"find the running {name} without its walls"
    try:
        status = Path(f"/proc/{installation.process(name)}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise _gone(name) from None
    values = dict(re.findall(r"^(Seccomp|NoNewPrivs|CapEff):\s+(\S+)$", status, re.MULTILINE))
    held = (
        values.get("Seccomp") == _SECCOMP_FILTER
        and values.get("NoNewPrivs") == "1"
        and int(values.get("CapEff", "f"), 16) == 0
    )
    shown = ", ".join(f"{key} {value}" for key, value in sorted(values.items()))
    return Finding(tried, shown or "the kernel says nothing of it", held)


def _gone(name: str) -> CannotShowError:
    return CannotShowError(f"the {name} ended while it was looked at; see: mycelos status")
