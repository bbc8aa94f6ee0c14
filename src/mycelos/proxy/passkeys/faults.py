"""Why a passkey was refused: one word for the record, one sentence for the person."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mycelos.wire.problems import ProblemCode, Refusal


class Fault(StrEnum):
    """What was wrong. The first that is found is the one that is told."""

    MALFORMED = "malformed"
    CHALLENGE = "challenge"
    PURPOSE = "purpose"
    SESSION = "session"
    CEREMONY = "ceremony"
    ORIGIN = "origin"
    RELYING_PARTY = "relying_party"
    PRESENCE = "presence"
    VERIFICATION = "verification"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    COUNTER = "counter"
    MISSING = "missing"


_AGAIN: Final = "Begin again from the vault page."
_SENTENCES: Final = {
    Fault.MALFORMED: ("credential: the browser's answer cannot be read.", _AGAIN),
    Fault.CHALLENGE: ("The passkey answered a question that was not asked, or that was answered already.", _AGAIN),
    Fault.PURPOSE: ("The passkey answered a question that was asked for something else.", _AGAIN),
    Fault.SESSION: ("This passkey was asked for by another session.", _AGAIN),
    Fault.CEREMONY: ("The passkey did something else than it was asked to.", _AGAIN),
    Fault.ORIGIN: (
        "The passkey was used at another page.",
        "Open the right one: mycelos open --operator",
    ),
    Fault.RELYING_PARTY: ("The passkey belongs to another site.", _AGAIN),
    Fault.PRESENCE: ("The passkey was used without a person.", _AGAIN),
    Fault.VERIFICATION: ("The passkey did not ask for its PIN or your finger or face.", "Set one up for it first."),
    Fault.ALGORITHM: ("The passkey's key is of a kind that is not known here.", "Use another one."),
    Fault.UNKNOWN_KEY: ("This passkey is not enrolled here.", "Sign in with a link: mycelos open --operator"),
    Fault.SIGNATURE: ("The passkey's signature does not hold.", _AGAIN),
    Fault.MISSING: ("A passkey is enrolled, and this was not signed with it.", "Approve it at the vault page."),
    Fault.COUNTER: (
        "The passkey has counted backwards: there may be a copy of it.",
        "Sign in with a link, remove this passkey and enrol another: mycelos open --operator",
    ),
}


class PasskeyRefused(Refusal):
    """A passkey that was not accepted, and why."""

    def __init__(self, fault: Fault) -> None:
        detail, next_step = _SENTENCES[fault]
        code = ProblemCode.INVALID_REQUEST if fault is Fault.MALFORMED else ProblemCode.FORBIDDEN
        super().__init__(code, detail, next_step)
        self.fault = fault


def demand(condition: bool, fault: Fault) -> None:
    """Refuse where ``condition`` does not hold.

    Raises:
        PasskeyRefused: with the fault.
    """
    if not condition:
        raise PasskeyRefused(fault)
