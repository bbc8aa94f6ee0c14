"""What a browser may do here: which Host and Origin are ours, and the headers of every answer.

Cookies ignore ports and a name can be rebound to loopback: neither says that a request was meant for this page.
Host and Origin do (RFC 6454; Fetch Metadata), and they are checked before any page is looked at.
"""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not no-referrer: browsers would then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""


def allowed_origins(port: int, public_url: str | None) -> frozenset[str]:
    """The origins that this page is: loopback names at its port, and its public address."""
    origins = {f"http://{name}:{port}" for name in _LOOPBACK_NAMES}
    if public_url is not None:
        parts = urlsplit(public_url)
        origins.add(f"{parts.scheme}://{parts.netloc}".lower())
    return frozenset(origins)


class BrowserRules:
    """ASGI middleware: refuses a foreign Host, a change that another origin asks for, and sets the headers."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins
        self._hosts = frozenset(urlsplit(origin).netloc for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it. What is neither HTTP nor the server's own start is left unanswered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        app = self._app
        if headers.getlist("host") == [] or any(host.lower() not in self._hosts for host in headers.getlist("host")):
            app = PlainTextResponse("This name is not an address of the vault page.\n", 421)
        elif scope["method"] not in _SAFE_METHODS and not self._is_own(headers):
            app = PlainTextResponse("This form was sent from another page. Open the vault page and try again.\n", 403)
        try:
            await app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, its text could quote a secret
            _log.error("a request at the vault page failed: %s", type(error).__name__)
            if not started:
                answer = PlainTextResponse("The vault page failed at this request.\n", 500)
                await answer(scope, receive, send_with_headers)

    def _is_own(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        origins = headers.getlist("origin")
        if site is not None and site != "same-origin":
            return False
        if origins:
            return len(origins) == 1 and origins[0] in self._origins
        return site == "same-origin"
