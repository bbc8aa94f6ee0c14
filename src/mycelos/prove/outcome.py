"""What a probe says: its findings, how they were shown, and what follows for the claim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.claim import Claim


class Shown(StrEnum):
    """How a claim is shown."""

    LIVE = "live"
    """Harmlessly, on the installation that runs here, or from a process confined like its zone."""
    TWIN = "twin"
    """On a disposable second instance of the same code, with its own data, reaching loopback only."""
    LIVE_AND_TWIN = "live_and_twin"
    """Some attempts on the one, the others on the other."""
    EVIDENCE = "evidence"
    """By the result of a test run, cited by version."""


class Standing(StrEnum):
    """What follows for a claim."""

    HOLDS = "holds"
    BROKEN = "broken"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Finding:
    """One attempt: ``tried`` and ``happened`` are for people; ``held`` says whether the wall did."""

    tried: str
    happened: str
    held: bool


@dataclass(frozen=True)
class ProbeResult:
    """What came of one claim's probe. ``obstacle`` says why it could not be tried, and is empty where it was."""

    claim: Claim
    shown: Shown
    findings: tuple[Finding, ...]
    obstacle: str = ""

    @property
    def standing(self) -> Standing:
        """Holds only where something was tried, all of it, and all of it was refused."""
        if any(not finding.held for finding in self.findings):
            return Standing.BROKEN
        return Standing.HOLDS if self.findings and not self.obstacle else Standing.CANNOT_TELL


class CannotShowError(Exception):
    """The probe cannot be run here. The text says what is missing and what to do."""


DONE, WALL_MISSING, CANNOT_TELL = 0, 3, 6


def exit_code(results: Sequence[ProbeResult]) -> int:
    """0 when every claim holds, 3 when one is broken, 6 when one could not be shown (and for no result at all)."""
    standings = {result.standing for result in results}
    if Standing.BROKEN in standings:
        return WALL_MISSING
    return DONE if standings == {Standing.HOLDS} else CANNOT_TELL
