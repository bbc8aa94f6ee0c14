"""Takes every known secret out of an answer, in each of its spellings, while the answer streams.

When and in which pieces an answer is passed on depends on its length and its line ends alone, never on how much of it
looks like a secret: else whoever can choose a part of the answer could guess a secret one letter at a time. The
compiled matchers hold plaintext: they are made for one answer, and `close` drops them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from mycelos.proxy.egress.readings import Reading, digits_only, glances, squeezed, trace, unescaped
from mycelos.wire.secret_forms import FORMS, secret_forms

if TYPE_CHECKING:
    from collections.abc import Iterable

Span = tuple[int, int]

REPLACEMENT: Final = b"[credential removed]"

_LEAST_HELD: Final = 2048
# Base64 and digits that are broken by white space are looked for from this length on: shorter, chance makes them.
_SHORTEST_BROKEN: Final = 10
# No form is looked for across an empty line, or across a line end behind one of these: no stored secret holds a line
# end, and base64 and digits are broken behind none of them.
_LINE_ENDINGS: Final = (b"\n", b"}", b"]", b'"')


class Scrubber:
    """One answer's filter: feed it each piece in order, then finish. ``count`` is how often a secret was found."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        kept = list(secrets)
        self._patterns = sorted({form for secret in kept for form in secret_forms(secret)})
        self._held = b""
        self.count = 0
        longest = max(map(len, self._patterns), default=0)
        # Rounded up, so that what is held tells no length.
        self._hold = max(_LEAST_HELD, 1 << (2 * longest).bit_length())
        self._matcher = _matcher(self._patterns)
        self._base64 = _matcher(_broken(form for secret in kept for form in FORMS["base64"](secret)))
        self._digits = _matcher(_broken(form.lower() for secret in kept for form in FORMS["hexadecimal"](secret)))

    @property
    def is_active(self) -> bool:
        """Whether there is anything to look for."""
        return self._matcher is not None

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now that ``data`` has arrived."""
        if self._matcher is None or not data:
            return data
        data = self._held + data
        clean, end = self._clean(data, _last_break(data, max(0, len(data) - self._hold)))
        self._held = data[end:]
        return clean

    def finish(self) -> bytes:
        """What was held back, at the end of the answer."""
        data, self._held = self._held, b""
        return self.scrub_whole(data)

    def scrub_whole(self, data: bytes) -> bytes:
        """``data`` as an answer of its own, such as a header's value."""
        return data if self._matcher is None else self._clean(data, len(data))[0]

    def holds_secret(self, name: bytes) -> bool:
        """Whether a secret stands in a header's name, which is the same name in either case; counted as found."""
        found = any(pattern.lower() in name.lower() for pattern in self._patterns)
        self.count += found
        return found

    def close(self) -> None:
        """Drop the matchers, the patterns and what is held back."""
        self._matcher = self._base64 = self._digits = None
        self._patterns = []
        self._held = b""

    def _clean(self, data: bytes, cut: int) -> tuple[bytes, int]:
        """``data`` up to ``cut`` without secrets, and where it ends: behind a secret that reaches over ``cut``."""
        pieces: list[bytes] = []
        position = 0
        for start, stop in _merged(self._find(data)):
            if start >= cut:
                break
            pieces += [data[position:start], REPLACEMENT]
            position = stop
            self.count += 1
        end = max(cut, position)
        pieces.append(data[position:end])
        return b"".join(pieces), end

    def _find(self, data: bytes) -> list[Span]:
        """Where secrets stand in ``data``, however it is read."""
        spans = _search(self._matcher, data)
        readings_seen = glances(data)
        innermost = squeezed(readings_seen[-1] if readings_seen else data)
        if (
            any(_search(self._matcher, seen) for seen in readings_seen)
            or _search(self._base64, innermost)
            or _search(self._digits, digits_only(innermost))
        ):
            spans += self._trace(data)
        return spans

    def _trace(self, data: bytes) -> list[Span]:
        """What `_find` saw at a glance, with its places."""
        spans: list[Span] = []
        readings = unescaped(data)
        for depth, reading in enumerate(readings, 1):
            spans += [_origin(readings[:depth], span) for span in _search(self._matcher, reading.data)]
        innermost = readings[-1].data if readings else data
        for matcher, digits in ((self._base64, False), (self._digits, True)):
            traced = trace(innermost, digits=digits)
            spans += [_origin([*readings, traced], span) for span in _search(matcher, traced.data)]
        return spans


def _broken(forms: Iterable[bytes]) -> list[bytes]:
    return sorted({form for form in forms if len(form) >= _SHORTEST_BROKEN})


def _matcher(patterns: list[bytes]) -> BytesAhoCorasick | None:
    if not patterns:
        return None
    # The automaton that needs least memory: there are few patterns, and some are long.
    return BytesAhoCorasick(patterns, MatchKind.LeftmostLongest, Implementation.ContiguousNFA)


def _search(matcher: BytesAhoCorasick | None, data: bytes) -> list[Span]:
    return [] if matcher is None else [(start, stop) for _, start, stop in matcher.find_matches_as_indexes(data)]


def _origin(readings: list[Reading], span: Span) -> Span:
    for reading in reversed(readings):
        span = reading.origin(*span)
    return span


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _before(data: bytes, newline: int) -> bytes:
    """The byte before a line's end, which may be written as CR LF."""
    return data[max(0, newline - 2) : newline].removesuffix(b"\r")[-1:]


def _last_break(data: bytes, after: int) -> int:
    """Where the last line ends behind which nothing can go on that began before; ``after`` if there is none."""
    end = len(data)
    while (newline := data.rfind(b"\n", after, end)) >= 0:
        if _before(data, newline) in _LINE_ENDINGS:
            return newline + 1
        end = newline
    return after
