"""What today's requests have used up before this start, read back from the ledger: a restart gives nothing back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mycelos.ledger.entry import EntryError, Phase
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.database import LedgerError

if TYPE_CHECKING:
    from mycelos.ledger.entry import Entry
    from mycelos.proxy.egress.quota import QuotaBook
    from mycelos.proxy.egress.web_budget import WebBudget

_PAGE: Final = 10_000


class Ledger(Protocol):
    """The recorder, as this module sees it."""

    async def events(self, wanted: EventQuery) -> list[Entry]:
        """Entries in order."""
        ...


async def count_spent(ledger: Ledger, today: str, quotas: QuotaBook, web_budget: WebBudget) -> None:
    """Count each request that is on record since ``today`` (UTC, as in ``2026-01-31``) began.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    credentials: dict[int, str] = {}
    wanted = EventQuery(after=-1, limit=_PAGE, since=f"{today}T00:00:00.000000Z", event=Event.PROXY_HTTP_REQUEST.value)
    while entries := await ledger.events(wanted):
        for entry in entries:
            try:
                details = entry.as_dict()["details"]
            except EntryError as error:
                message = f"today's requests cannot be counted: {error}; run mycelos db audit verify"
                raise LedgerError(message) from None
            _count(entry, details, credentials, quotas, web_budget)
        wanted = msgspec.structs.replace(wanted, after=entries[-1].seq)


def _count(
    entry: Entry, details: dict[str, Any], credentials: dict[int, str], quotas: QuotaBook, web_budget: WebBudget
) -> None:
    if entry.phase == Phase.INTENT:
        if details.get("web"):
            web_budget.count(entry.run, str(details["host"]), int(details["url_bytes"]))
        elif "credential_id" in details:
            credentials[entry.seq] = str(details["credential_id"])
            quotas.count(credentials[entry.seq], requests=1)
    elif entry.phase == Phase.OUTCOME and entry.intent_seq in credentials:
        quotas.count(credentials[entry.intent_seq], bytes_sent=int(details.get("bytes_sent", 0)))
