"""What the tour has shown, judged by what it left behind. Pure, so that a tour that shows nothing can be tested."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """What the commands printed, and what the stand-in for the outside saw.

    ``ledger`` is the output of `mycelos db audit --json`, ``verified`` that of `mycelos db audit verify`.
    """

    token: str = field(repr=False)
    answer: str
    refusals: str
    ledger: str
    verified: str
    seen_by_model: str
    seen_by_api: list[dict[str, Any]]
    seen_by_thief: list[dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """One line of the end: what was to be shown, what was found, and whether it is as it must be."""

    title: str
    text: str
    holds: bool


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """The four findings of the tour."""
    events = {entry["event"] for entry in json.loads(evidence.ledger)}
    shown = evidence.answer + evidence.refusals + evidence.ledger + evidence.seen_by_model
    used = any(request["authenticated"] for request in evidence.seen_by_api)
    written = any(request["method"] != "GET" for request in evidence.seen_by_api)
    first_line = evidence.verified.strip().partition("\n")[0]
    return (
        Finding(
            "the agent's answer",
            "issues were read with a credential that neither the agent nor the model ever held",
            holds=used and "moss" in evidence.answer and evidence.token not in shown,
        ),
        Finding(
            "the refused write",
            "github.write.comment: the agent has no capability for it, and no such request went out",
            holds="policy.denied" in events and not written,
        ),
        Finding(
            "the refused theft",
            "the credential towards the thief and a private address: refused before anything was dialled",
            holds={"proxy.binding_violation", "proxy.ssrf_blocked"} <= events and not evidence.seen_by_thief,
        ),
        Finding("the verified ledger", first_line, holds=first_line.startswith("holds")),
    )
