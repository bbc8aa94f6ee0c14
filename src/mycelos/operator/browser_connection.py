"""One connection of a browser to the vault page: room for what other pages planted, and words where there is none.

Cookies ignore ports: any page at another port of this machine can have the browser send its own here, by the kilobyte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

from mycelos.operator.browser_rules import HEADERS
from mycelos.serving.guarded_protocol import CLOSE_SECONDS, DRAIN_LIMIT, GuardedProtocol

_PAGE: Final = (Path(__file__).parent / "pages" / "too_many_cookies.html").read_text(encoding="ascii")


class BrowserConnection(GuardedProtocol):
    """As guarded as any other: only the head may be larger, and is refused in words where it is larger still."""

    maximum_head: ClassVar[int] = 64 * 1024

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._is_refused = False
        self._dropped = 0

    def data_received(self, data: bytes) -> None:
        """Drop what still comes of a head that was refused: a browser reads no answer before it has sent it all."""
        if not self._is_refused:
            super().data_received(data)
            return
        self._dropped += len(data)
        if self._dropped > DRAIN_LIMIT:
            self._abort()

    def _feed(self, piece: memoryview) -> None:
        if self._is_refused:
            self._dropped += len(piece)
        else:
            super()._feed(piece)

    def _refuse_ill_framed(self) -> None:
        if self._is_refused:
            return
        if not self._is_head_too_large:
            super()._refuse_ill_framed()
            return
        body = _PAGE.replace("{{ limit }}", str(self.maximum_head)).encode("ascii")
        headers = {
            **HEADERS,
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = ["HTTP/1.1 431 Request Header Fields Too Large", *(f"{name}: {headers[name]}" for name in headers)]
        self._is_refused = True
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
        # Closed with bytes unread, the connection would be reset, and the answer with it.
        self.transport.write_eof()
        self._start_clock(CLOSE_SECONDS)
