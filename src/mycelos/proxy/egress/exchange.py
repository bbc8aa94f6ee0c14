"""An answer on its way back: decoded, scrubbed, bounded in time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from mycelos.proxy.egress import headers
from mycelos.proxy.egress.connection import ClosedError, FramingError
from mycelos.proxy.egress.decode_body import BodyDecoder
from mycelos.proxy.egress.http_client import fail_closed, fail_framing, fail_timeout
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mycelos.proxy.egress.connection import UpstreamConnection
    from mycelos.proxy.egress.costly_work import CostlyWork
    from mycelos.proxy.egress.http_client import Deadlines
    from mycelos.proxy.egress.scrub import Scrubber
    from mycelos.proxy.egress.trail import Progress
    from mycelos.proxy.egress.url import CanonicalUrl
    from mycelos.wire.binding import ResponseRule


_BODILESS: Final = (204, 304)


class Exchange:
    """One answer. Read `body` at most once; whoever opened it gives its connection back."""

    def __init__(
        self,
        *,
        url: CanonicalUrl,
        method: str,
        connection: UpstreamConnection,
        scrubber: Scrubber,
        costly: CostlyWork,
        response_rule: ResponseRule | None,
        deadlines: Deadlines,
        progress: Progress,
    ) -> None:
        self.url = url
        self.status = connection.status
        self.progress = progress
        self._connection = connection
        self._scrubber = scrubber
        self._costly = costly
        self._rule = response_rule
        self._method = method
        self._deadlines = deadlines
        self.is_read = False
        self._ends_at = progress.started + deadlines.total
        progress.status = connection.status
        self._decoder = BodyDecoder([] if method == "HEAD" else connection.headers)
        self.headers: headers.Headers = []

    async def look_at_head(self) -> None:
        """Make `headers` of what the upstream sent: those that come back, scrubbed."""
        rule, found = self._rule, self._connection.headers
        given = headers.returned(
            found,
            set_cookie="drop" if rule is None else rule.set_cookie,
            location_query="keep" if rule is None else rule.location_query,
        )
        # A name with a secret in it cannot stand with the replacement's spaces: that header goes.
        kept = [
            (name, await self._scrubbed(self._scrubber.scrub_whole, value))
            for name, value in given
            if not self._scrubber.holds_secret(name)
        ]
        # What is not rewritten keeps its length; with a matcher at work the length is not known beforehand.
        if self._method == "HEAD" or not (self._scrubber.is_active or self._decoder.is_active):
            kept += [(name, value) for name, value in found if name == b"content-length"]
        self.headers = kept

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the caller knows them from the head; else its end shows where it ends."""
        if self._method == "HEAD" or self.status in _BODILESS:
            return 0
        lengths = [int(value) for name, value in self.headers if name == b"content-length"]
        return lengths[0] if lengths else None

    @property
    def scrubbed(self) -> int:
        """How often a secret was taken out so far."""
        return self._scrubber.count

    @property
    def ending(self) -> tuple[str, str]:
        """Outcome and reason, where nothing was raised."""
        if self.is_read:
            return "ok", ""
        return "cut", "truncated" if self.progress.is_truncated else "abandoned"

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's body, each piece as soon as it may be passed on.

        Raises:
            Refusal: `upstream_timeout`, `upstream_unreachable`, `upstream_invalid`; what came before was passed on.
        """
        while data := await self._read():
            for piece in self._decoder.feed(data):
                if clean := await self._scrubbed(self._scrubber.feed, piece):
                    yield clean
                # One read may decode to many pieces: others have their turn between them.
                await asyncio.sleep(0)
        self._decoder.finish()
        if rest := await self._scrubbed(lambda _: self._scrubber.finish(), b""):
            yield rest
        self.is_read = True

    async def _scrubbed(self, work: Callable[[bytes], bytes], data: bytes) -> bytes:
        if not self._scrubber.is_active:
            return data
        # What has held a secret once is likely to again, and finding its places is slow.
        clean = await self._costly.run(self.url.host, work, data, costly=self._scrubber.count > 0)
        if not isinstance(clean, bytes):
            raise Refusal(ProblemCode.INTERNAL, "The answer could not be looked through.", "See: mycelos db audit")
        return clean

    async def _read(self) -> bytes:
        # What is there already is read without waiting, so that no timeout would strike.
        if time.monotonic() >= self._ends_at:
            fail_timeout()
        try:
            # Not a timeout around the whole body: that would strike while the caller is at work with a piece.
            async with asyncio.timeout(min(self._deadlines.idle, self._ends_at - time.monotonic())):
                data = await self._connection.read()
        except TimeoutError:
            fail_timeout()
        except ClosedError:
            fail_closed()
        except FramingError as fault:
            fail_framing(fault)
        self.progress.bytes_received += len(data)
        return data
