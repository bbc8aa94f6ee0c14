"""An answer on its way back: decoded, scrubbed, bounded in time; and the outcome that is recorded when it ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mycelos.proxy.egress import headers
from mycelos.proxy.egress.connection import ClosedError, FramingError
from mycelos.proxy.egress.decode_body import BodyDecoder
from mycelos.proxy.egress.http_client import fail_closed, fail_framing, fail_timeout
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import ExitStack

    from mycelos.proxy.egress.connection import UpstreamConnection
    from mycelos.proxy.egress.http_client import Deadlines, HttpClient
    from mycelos.proxy.egress.ports import RecorderPort
    from mycelos.proxy.egress.scrub import Scrubber
    from mycelos.proxy.egress.url import CanonicalUrl
    from mycelos.proxy.ledger.recorder import Receipt
    from mycelos.wire.binding import ResponseRule


class Progress:
    """What is known of a recorded request so far. The first `end` counts; later ones change nothing."""

    def __init__(self, recorder: RecorderPort, intent: Receipt) -> None:
        self._recorder = recorder
        self._intent = intent
        self.started = time.monotonic()
        self._is_ended = False
        self.recorded: asyncio.Future[Receipt] | None = None
        self.address = ""
        self.status = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.is_truncated = False

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the intent was on record."""
        return int((time.monotonic() - self.started) * 1000)

    def end(self, outcome: str, reason: str = "") -> None:
        """Queue the outcome."""
        if self._is_ended:
            return
        self._is_ended = True
        details: dict[str, Any] = {"bytes_sent": self.bytes_sent, "elapsed_ms": self.elapsed_ms}
        if self.address:
            details["address"] = self.address
        if self.status:
            details |= {"status": self.status, "bytes_received": self.bytes_received, "truncated": self.is_truncated}
        self.recorded = self._recorder.outcome(self._intent, outcome=outcome, reason=str(reason), details=details)


class Exchange:
    """One answer. Read `body` at most once, then `close`; closing early ends the connection."""

    def __init__(
        self,
        *,
        url: CanonicalUrl,
        method: str,
        connection: UpstreamConnection,
        client: HttpClient,
        scrubber: Scrubber,
        response_rule: ResponseRule | None,
        deadlines: Deadlines,
        progress: Progress,
        record_scrubbed: Callable[[int], Awaitable[None]],
    ) -> None:
        self.url = url
        self.status = connection.status
        self.progress = progress
        self._connection = connection
        self._client = client
        self._scrubber = scrubber
        self._deadlines = deadlines
        self._record_scrubbed = record_scrubbed
        self._open: ExitStack | None = None
        self._is_read = False
        self._ends_at = progress.started + deadlines.total
        progress.status = connection.status
        self._decoder = BodyDecoder([] if method == "HEAD" else connection.headers)
        self.headers = self._returned_headers(response_rule, method)

    def adopt(self, opened: ExitStack) -> None:
        """Take over what must be closed at the end."""
        self._open = opened

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's body, each piece as soon as it may be passed on.

        Raises:
            Refusal: `upstream_timeout`, `upstream_unreachable`, `upstream_invalid`; what came before was passed on.
        """
        while data := await self._read():
            for piece in self._decoder.feed(data):
                if clean := self._scrubber.feed(piece):
                    yield clean
        self._decoder.finish()
        if rest := self._scrubber.finish():
            yield rest
        self._is_read = True

    async def close(self, problem: Refusal | None = None) -> None:
        """Give the connection back or end it, drop the matcher, record the outcome."""
        count = self._scrubber.count
        if self._open is None:
            return
        with self._open:
            self._open = None
            if self._is_read:
                self._client.release(self.url, self._connection)
                self.progress.end("ok")
            else:
                self._connection.close()
                if problem is not None:
                    self.progress.end("failed", problem.problem.code)
                else:
                    self.progress.end("cut", "truncated" if self.progress.is_truncated else "abandoned")
        if count:
            await self._record_scrubbed(count)

    async def _read(self) -> bytes:
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

    def _returned_headers(self, rule: ResponseRule | None, method: str) -> headers.Headers:
        given = headers.returned(
            self._connection.headers,
            set_cookie="drop" if rule is None else rule.set_cookie,
            location_query="keep" if rule is None else rule.location_query,
        )
        # A name with a secret in it cannot stand with the replacement's spaces: that header goes.
        kept = [
            (name, self._scrubber.scrub_whole(value)) for name, value in given if not self._scrubber.holds_secret(name)
        ]
        # What is not rewritten keeps its length; with a matcher at work the length is not known beforehand.
        if method == "HEAD" or not (self._scrubber.is_active or self._decoder.is_active):
            kept += [(name, value) for name, value in self._connection.headers if name == b"content-length"]
        return kept
