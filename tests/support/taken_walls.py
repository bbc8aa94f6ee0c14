"""What a probe says where its wall was taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mycelos.prove.outcome import Standing
from mycelos.prove.run import prove

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation


def what_happened(installation: Installation, identifier: str) -> dict[str, str]:
    """What the probe tried that did not hold, each with what happened."""
    (result,) = prove(installation, [identifier])
    assert result.standing is Standing.BROKEN, result
    return {finding.tried: finding.happened for finding in result.findings if not finding.held}


def broken(installation: Installation, identifier: str) -> set[str]:
    """What the probe tried that did not hold."""
    return set(what_happened(installation, identifier))
