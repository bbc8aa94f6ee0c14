"""Takes every known secret out of an answer, in each of its spellings, while the answer streams.

Only what could be the beginning of a secret is held back, so a stream of events is not delayed. The compiled
matcher holds plaintext: it is made for one answer, and `close` drops it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from ahocorasick_rs import MATCHKIND_LEFTMOST_LONGEST, BytesAhoCorasick, Implementation

from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Iterable

REPLACEMENT: Final = b"[credential removed]"

_START_LENGTH: Final = 4


class Scrubber:
    """One answer's filter: feed it each piece in order, then finish. ``count`` is how often a secret was found."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._patterns = sorted({form for secret in secrets for form in secret_forms(secret)})
        self._longest = max(map(len, self._patterns), default=0)
        self._held = b""
        self.count = 0
        self._matcher: BytesAhoCorasick | None = None
        self._starts: BytesAhoCorasick | None = None
        if self._patterns:
            # The automaton that needs least memory: there are few patterns, and some are long.
            self._matcher = BytesAhoCorasick(self._patterns, MATCHKIND_LEFTMOST_LONGEST, Implementation.ContiguousNFA)
            self._starts = BytesAhoCorasick(
                sorted({pattern[:_START_LENGTH] for pattern in self._patterns}),
                implementation=Implementation.ContiguousNFA,
            )

    @property
    def is_active(self) -> bool:
        """Whether there is anything to look for."""
        return self._matcher is not None

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now that ``data`` has arrived."""
        if self._matcher is None or not data:
            return data
        data = self._held + data
        matches = self._matcher.find_matches_as_indexes(data)
        hold = self._first_possible_start(data, matches)
        self._held = data[hold:]
        return self._replace(data, matches, hold)

    def finish(self) -> bytes:
        """What was held back, at the end of the answer."""
        data, self._held = self._held, b""
        if self._matcher is None or not data:
            return data
        return self._replace(data, self._matcher.find_matches_as_indexes(data), len(data))

    def scrub_whole(self, data: bytes) -> bytes:
        """``data`` as an answer of its own, such as a header's value."""
        if self._matcher is None:
            return data
        return self._replace(data, self._matcher.find_matches_as_indexes(data), len(data))

    def holds_secret(self, name: bytes) -> bool:
        """Whether a secret stands in a header's name, which is the same name in either case; counted as found."""
        found = any(pattern.lower() in name.lower() for pattern in self._patterns)
        self.count += found
        return found

    def close(self) -> None:
        """Drop the matcher, the patterns and what is held back."""
        self._matcher = self._starts = None
        self._patterns = []
        self._held = b""

    def _replace(self, data: bytes, matches: list[tuple[int, int, int]], end: int) -> bytes:
        pieces: list[bytes] = []
        position = 0
        for _, start, stop in matches:
            if start >= end:
                break
            pieces += [data[position:start], REPLACEMENT]
            position = stop
            self.count += 1
        if not pieces:
            return data[:end]
        pieces.append(data[position:end])
        return b"".join(pieces)

    def _first_possible_start(self, data: bytes, matches: list[tuple[int, int, int]]) -> int:
        """The first place, not inside a match, from which all that follows is the beginning of some pattern.

        What is decided before that place stays decided whatever comes, so the result does not depend on how the
        answer was cut into pieces.
        """
        for place in self._candidates(data):
            if not any(start < place < stop for _, start, stop in matches) and self._begins_pattern(data[place:]):
                return place
        return len(data)

    def _candidates(self, data: bytes) -> Iterable[int]:
        base = max(0, len(data) - self._longest + 1)
        if self._starts is not None:
            tail = data[base:]
            found = {start for _, start, _ in self._starts.find_matches_as_indexes(tail, overlapping=True)}
            yield from (base + start for start in sorted(found))
        # The last three bytes may begin a start that is not complete yet.
        yield from range(max(base, len(data) - _START_LENGTH + 1), len(data))

    def _begins_pattern(self, suffix: bytes) -> bool:
        index = bisect_left(self._patterns, suffix)
        # The pattern itself, complete, is no mere beginning unless a longer one begins with it too.
        if index < len(self._patterns) and self._patterns[index] == suffix:
            index += 1
        return index < len(self._patterns) and self._patterns[index].startswith(suffix)
