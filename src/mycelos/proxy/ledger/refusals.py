"""How the ledger says no: each refusal names what is wrong and what a person can do."""

from __future__ import annotations

from mycelos.ledger.entry import EntryError
from mycelos.proxy.ledger.writer import NoRoomError, WriteError
from mycelos.wire.problems import ProblemCode, Refusal


class UnsignedLimitError(Refusal):
    """Nothing more can be written without the vault's key. The log is sound, and a start that has the key signs it."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            ProblemCode.AUDIT_UNAVAILABLE,
            f"Nothing is done that cannot be recorded: {detail}",
            "Start the system once, which signs them: mycelos serve - then try again.",
        )


def refusal_of(error: WriteError | EntryError) -> Refusal:
    """Why an append was not written."""
    if isinstance(error, NoRoomError):
        return UnsignedLimitError(str(error))
    return unavailable(str(error)) if isinstance(error, WriteError) else too_large(str(error))


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
