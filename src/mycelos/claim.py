"""What a claim is, and the places where a check can fail. The claims themselves are in `mycelos.claims`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Claim:
    """One claim.

    ``sentences`` are first words of sentences of the page. ``commands`` are first words of commands: the longest one
    that fits owns a command. ``attacks`` are tests in `tests/claims/`, from the table in `mycelos.attacks`.
    ``deferred`` says what is still to come where the claim is not shown yet, and is empty where it is.
    """

    id: str
    text: str
    not_covered: str
    sentences: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    deferred: str = ""


PORTS: Final = (
    "policy",
    "sandbox",
    "gateway's recorder",
    "lockdown",
    "guard",
    "vault",
    "rules",
    "approvals",
    "quotas",
    "web budget",
    "open calls",
    "ledger",
    "resolver",
    "dialler",
    "scrubber",
    "secrets",
    "costly work",
)
"""Each place where a check can fail (F1). `tests/claims/test_fail_closed.py` makes each of them fail in every way."""
