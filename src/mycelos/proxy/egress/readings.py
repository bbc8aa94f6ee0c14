"""The ways in which a reader may take an answer: with escapes undone, or with white space left out.

A writer is free to escape one character and not the next, or to break base64 into lines: no list of forms holds all
of that. So the answer is read as such a reader would. `glances` is quick and forgets where its bytes came from;
`unescaped` and `trace` remember, and are slow: they are for an answer in which a glance has found something. Both undo
the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from html.entities import html5
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each branch begins with a letter of its own, so that the engine skips to where one stands.
_ESCAPE: Final = re.compile(
    rb"%(?:25)*(?:(?P<percent>[0-9A-Fa-f]{2})|u(?P<percent_unit>[0-9A-Fa-f]{4}))"
    rb"|\\\\*(?:u(?P<high>[Dd][89ABab][0-9A-Fa-f]{2})\\+u(?P<low>[Dd][C-Fc-f][0-9A-Fa-f]{2})"
    rb"|u(?P<unit>[0-9A-Fa-f]{4})|u\{0*(?P<braced>[0-9A-Fa-f]{1,6})\}|x(?P<byte>[0-9A-Fa-f]{2})"
    rb"|(?P<short>[\"'/nrtf]))"
    rb"|\\(?P<backslash>\\)+"
    rb"|&(?:amp;)*(?:#(?:0*(?P<decimal>[0-9]{1,7})|[Xx]0*(?P<hexadecimal>[0-9A-Fa-f]{1,6}))|(?P<name>[A-Za-z]{2,8}));"
)
_LEADS: Final = (b"%", b"\\", b"&")
_SHORT: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"f": b"\f"}
_NAMED: Final = {
    name.removesuffix(";").encode("ascii"): text.encode("utf-8") for name, text in html5.items() if name.endswith(";")
}
_MOST_TURNS: Final = 3

_WHITE: Final = b" \t\r\n\f"
_BETWEEN_DIGITS: Final = b":-,"
_DIGIT_PREFIXES: Final = (b"0x", b"0X", b"\\x", b"\\X")
_BARRIER: Final = b"\0"
_LOWER: Final = bytes(range(256)).lower()


@dataclass(frozen=True)
class Reading:
    """``data`` as read; the edits say where its bytes came from: parallel lists, each in order."""

    data: bytes
    read_starts: Sequence[int]
    read_stops: Sequence[int]
    starts: Sequence[int]
    stops: Sequence[int]

    def origin(self, start: int, stop: int) -> tuple[int, int]:
        """What ``data[start:stop]`` was written as: start and stop in the text that was read."""
        before = bisect_right(self.read_starts, start) - 1
        if before < 0:
            first = start
        elif start < self.read_stops[before]:
            first = self.starts[before]
        else:
            first = self.stops[before] + start - self.read_stops[before]
        inside = bisect_left(self.read_starts, stop) - 1
        last = stop if inside < 0 else self.stops[inside] + max(0, stop - self.read_stops[inside])
        return first, last


def unescaped(data: bytes) -> list[Reading]:
    """``data`` with percent, JSON, JavaScript and HTML escapes undone; once, and again while that finds escapes.

    Each reading is one of the reading before it. Empty where there is no escape.
    """
    readings: list[Reading] = []
    while len(readings) < _MOST_TURNS and _may_hold_escapes(data):
        reading = _unescape(data)
        if not reading.starts:
            break
        readings.append(reading)
        data = reading.data
    return readings


def glances(data: bytes) -> list[bytes]:
    """What `unescaped` reads, without the origins."""
    found: list[bytes] = []
    while len(found) < _MOST_TURNS and _may_hold_escapes(data):
        undone = _ESCAPE.sub(_meaning_or_itself, data)
        if undone == data:
            break
        found.append(data := undone)
    return found


def _may_hold_escapes(data: bytes) -> bool:
    return any(lead in data for lead in _LEADS)


def _meaning_or_itself(found: re.Match[bytes]) -> bytes:
    text = found[0]
    known = _QUICK.get(text)
    if known is not None:
        return known
    meaning = _meaning(found)
    return text if meaning is None else meaning


def _unescape(data: bytes) -> Reading:
    pieces: list[bytes] = []
    read_starts: list[int] = []
    read_stops: list[int] = []
    starts: list[int] = []
    stops: list[int] = []
    position = length = 0
    for found in _ESCAPE.finditer(data):
        meaning = _meaning(found)
        if meaning is None:
            continue
        start, stop = found.span()
        pieces += [data[position:start], meaning]
        length += start - position
        read_starts.append(length)
        length += len(meaning)
        read_stops.append(length)
        starts.append(start)
        stops.append(stop)
        position = stop
    pieces.append(data[position:])
    return Reading(b"".join(pieces), read_starts, read_stops, starts, stops)


def _meaning(found: re.Match[bytes]) -> bytes | None:
    kind = found.lastgroup
    text = found[kind] if kind is not None else b""
    match kind:
        case "percent" | "byte":
            return bytes((int(text, 16),))
        case "low":
            high, low = int(found["high"], 16), int(text, 16)
            return chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)).encode("utf-8")
        case "unit" | "percent_unit" | "braced" | "hexadecimal" | "decimal":
            number = int(text, 10 if kind == "decimal" else 16)
            return chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else None
        case "short":
            return _SHORT.get(text, text)
        case "backslash":
            return b"\\"
        case _:
            return _NAMED.get(text)


def _quick_meanings() -> dict[bytes, bytes]:
    """The escapes that are most frequent, each with its meaning."""
    spelled = [f"%{byte:02{case}}" for byte in range(256) for case in "xX"]
    spelled += [f"\\u{unit:04{case}}" for unit in range(0x20, 0x7F) for case in "xX"]
    spelled += [f"\\{letter}" for letter in "\"'/nrtf\\"]
    matches = (_ESCAPE.fullmatch(text.encode("ascii")) for text in spelled)
    return {found[0]: meaning for found in matches if found and (meaning := _meaning(found)) is not None}


_QUICK: Final = _quick_meanings()


def squeezed(data: bytes) -> bytes:
    """``data`` without white space, as readers of base64 take it. An empty line ends what belongs together."""
    data = data.replace(b"\r\n", b"\n").replace(b"\n\n", _BARRIER)
    return data.translate(None, _WHITE)


def digits_only(squeezed_data: bytes) -> bytes:
    """`squeezed` data in lower case, without what writers put before and between hexadecimal digits."""
    for prefix in _DIGIT_PREFIXES:
        squeezed_data = squeezed_data.replace(prefix, b"")
    return squeezed_data.translate(_LOWER, _BETWEEN_DIGITS)


def trace(data: bytes, *, digits: bool) -> Reading:
    """`squeezed`, or `digits_only`, with the origin of each byte: slow, for where something was found."""
    kept: list[int] = []
    was_newline = False
    for index, byte in enumerate(data):
        is_newline = byte == 0x0A
        # The second of two line ends is kept: as no digit, it keeps apart what an empty line keeps apart.
        if byte not in _WHITE or (is_newline and was_newline):
            kept.append(index)
        if byte != 0x0D:
            was_newline = is_newline
    if digits:
        kept = _digit_places(data, kept)
    read = bytes(data[index] for index in kept)
    ends = range(len(kept) + 1)
    return Reading(read.translate(_LOWER) if digits else read, ends[:-1], ends[1:], kept, [index + 1 for index in kept])


def _digit_places(data: bytes, kept: list[int]) -> list[int]:
    """Of ``kept`` those that `digits_only` keeps: no prefix of digits, and nothing that stands between them."""
    for prefix in _DIGIT_PREFIXES:
        text = bytes(data[index] for index in kept)
        left_out = {at + step for at in _places(text, prefix) for step in range(len(prefix))}
        kept = [index for place, index in enumerate(kept) if place not in left_out]
    return [index for index in kept if data[index] not in _BETWEEN_DIGITS]


def _places(text: bytes, part: bytes) -> list[int]:
    """Where ``part`` stands, as bytes.replace finds it."""
    places: list[int] = []
    at = text.find(part)
    while at >= 0:
        places.append(at)
        at = text.find(part, at + len(part))
    return places
