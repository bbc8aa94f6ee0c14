"""What of the ledger a person wants to see: the address of the audit page, read and written. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NoReturn, cast
from urllib.parse import urlencode

import msgspec

from mycelos.ledger.events import EVENTS_AND_AREAS
from mycelos.ledger.log_filter import CountFilter
from mycelos.ledger.query import SUMMARY_SPAN, read_since, read_source
from mycelos.wire.problems import ProblemCode, Refusal

Show = Literal["all", "outside", "suspicious"]
SHOWS: Final[Mapping[Show, str]] = {
    "all": "Everything",
    "outside": "What left the machine",
    "suspicious": "Suspicious",
}
FIELDS: Final = CountFilter.__struct_fields__
"""The fields of the form. Each is text; empty means any."""
KEYS: Final = ("show", "before", "after", *FIELDS)
"""All that the page's address may hold."""

_LONGEST: Final = 512


class AuditFilter(CountFilter, frozen=True, kw_only=True):
    """One view of the ledger. ``since`` is what was typed.

    ``before`` and ``after`` are places: the page of entries older or newer than those.
    """

    show: Show = "all"
    before: int | None = None
    after: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether any field of the form narrows the view."""
        return any(getattr(self, name) for name in FIELDS)

    @property
    def is_first_page(self) -> bool:
        """Whether this is the newest there is."""
        return self.before is None and self.after is None

    def events_query(self, now: datetime, limit: int) -> dict[str, str | int | bool]:
        """The query for entries, a span counted back from ``now``.

        Raises:
            Refusal: `invalid_request`, a time that is none, or an event that does not exist.
        """
        texts = self.summary_query(now)
        if not self.since:
            del texts["since"]
        places = {name: getattr(self, name) for name in ("before", "after") if getattr(self, name) is not None}
        view: dict[str, bool] = {} if self.show == "all" else {self.show: True}
        return {"limit": limit, **texts, **places, **view}

    def summary_query(self, now: datetime) -> dict[str, str]:
        """The query for counts: of the last day where no time is given.

        Raises:
            Refusal: as above, or a source that there is not.
        """
        if self.event and self.event not in EVENTS_AND_AREAS:
            near = difflib.get_close_matches(self.event[:64], EVENTS_AND_AREAS, n=1, cutoff=0.0)[0]
            message = "event: there is no such event"
            raise Refusal(ProblemCode.INVALID_REQUEST, message, f"The nearest one that exists is {near}.")
        if self.source:
            read_source(self.source)
        query = {name: getattr(self, name) for name in FIELDS if getattr(self, name)}
        return query | {"since": read_since(self.since or SUMMARY_SPAN, now)}

    def link(self, **changes: str | int | None) -> str:
        """The address of this view with ``changes``, on its first page unless they say otherwise."""
        changed = msgspec.structs.replace(self, **{"before": None, "after": None, **changes})
        values = {name: getattr(changed, name) for name in KEYS}
        shown = {name: value for name, value in values.items() if value not in {"", None} and (name, value) != _ALL}
        return f"/audit?{urlencode(shown)}" if shown else "/audit"


_ALL: Final = ("show", "all")


def read_filter(query: Mapping[str, str]) -> AuditFilter:
    """The view that an address asks for; its keys are known already.

    Raises:
        Refusal: `invalid_request`; the detail names the key.
    """
    show = query.get("show", "all")
    if show not in SHOWS:
        _refuse("show", f"must be one of {', '.join(SHOWS)}")
    places: dict[str, int | None] = {}
    for name in ("before", "after"):
        text = query.get(name, "")
        if text and not (text.isascii() and text.isdigit() and len(text) <= 15):
            _refuse(name, "must be the number of an entry")
        places[name] = int(text) if text else None
    texts = {name: query.get(name, "").strip() for name in FIELDS}
    for name, text in texts.items():
        if len(text) > _LONGEST:
            _refuse(name, f"is too long; {_LONGEST} characters at most")
    given = {name: text or None for name, text in texts.items()}
    return AuditFilter(show=cast("Show", show), before=places["before"], after=places["after"], **given)


def _refuse(name: str, fault: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, f"{name} {fault}", "Correct it, or open the page anew: /audit")
