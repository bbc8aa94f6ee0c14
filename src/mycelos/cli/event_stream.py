"""Reading server-sent events (WHATWG HTML, section 9.2.6) as the gateway writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

LINE_LIMIT: Final = 16 * 1024 * 1024


class EventStreamError(Exception):
    """The stream holds what no gateway of ours writes."""


class Lines(Protocol):
    """Where lines come from: a response."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, or nothing at the end."""


@dataclass(frozen=True)
class Event:
    """One event: its number, its kind and its data."""

    sequence: int
    kind: str
    data: dict[str, Any]


def read_events(stream: Lines) -> Iterator[Event]:
    """Events until the stream ends. Comments, among them the heartbeat, are passed over.

    Raises:
        EventStreamError: a line above `LINE_LIMIT`, a number that is none, data that is no JSON object.
    """
    fields: dict[str, str] = {}
    while line := stream.readline(LINE_LIMIT):
        if not line.endswith(b"\n"):
            if len(line) >= LINE_LIMIT:
                message = "a line of the event stream is too long"
                raise EventStreamError(message)
            return
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield _event(fields)
            fields = {}


def _event(fields: dict[str, str]) -> Event:
    try:
        data = json.loads(fields["data"])
        sequence = int(fields.get("id", ""))
    except ValueError:
        data, sequence = None, 0
    if not isinstance(data, dict):
        message = "an event has no number or no JSON object"
        raise EventStreamError(message)
    return Event(sequence, fields.get("event", "message"), data)
