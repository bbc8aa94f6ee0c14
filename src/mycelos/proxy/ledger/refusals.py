"""How the ledger says no: each refusal names what is wrong and what a person can do."""

from __future__ import annotations

from mycelos.wire.problems import ProblemCode, Refusal


def unavailable(detail: str) -> Refusal:
    """Nothing can be written now."""
    return Refusal(
        ProblemCode.AUDIT_UNAVAILABLE,
        f"Nothing is done that cannot be recorded: {detail}",
        "Check the disk and the proxy's log, then try again; mycelos doctor shows what is wrong.",
    )


def too_large(detail: str) -> Refusal:
    """The entry is larger than one may be."""
    return Refusal(ProblemCode.TOO_LARGE, detail, "Record a digest of large content instead of the content.")


def invalid(detail: str) -> Refusal:
    """The entry is not one that fits its event."""
    return Refusal(
        ProblemCode.INVALID_REQUEST, detail, "Correct the entry; mycelos.ledger.events lists what each event holds."
    )


def not_claimable(event: str) -> Refusal:
    """The event is another source's to say."""
    return Refusal(
        ProblemCode.FORBIDDEN,
        f"{event} is not an event that the gateway may record",
        "Record only events whose source is the gateway; mycelos.ledger.events lists them.",
    )
