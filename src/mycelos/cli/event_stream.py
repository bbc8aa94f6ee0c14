"""Reading server-sent events (WHATWG HTML, section 9.2.6) as the gateway writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mycelos.cli.gateway_answers import AnswerError, decode_object

LINE_LIMIT: Final = 16 * 1024 * 1024
_FIELDS: Final = frozenset({"data", "event", "id"})
_SEQUENCE: Final = re.compile("[0-9]{1,18}")


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
            if name in _FIELDS:
                fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield _event(fields)
            fields = {}


def _event(fields: dict[str, str]) -> Event:
    try:
        data = decode_object(fields["data"].encode())
    except AnswerError:
        data = None
    sequence = fields.get("id", "")
    if data is None or not _SEQUENCE.fullmatch(sequence):
        message = "an event has no number or no JSON object"
        raise EventStreamError(message)
    return Event(int(sequence), fields.get("event", "message"), data)
