"""Last layer before the routes: another site, and another port of this machine, cannot act or listen here.

Browsers say where a request comes from in two headers that no page can forge: Origin (RFC 6454; sent with every
cross-origin request that is not a plain navigation) and Sec-Fetch-Site (Fetch Metadata; sent to trustworthy addresses).
Cookies know no ports, so a page of another local program counts as a stranger too: only ``same-origin`` will do.
"""

from __future__ import annotations

from typing import Final, NoReturn

from starlette.types import ASGIApp, Receive, Scope, Send

from mycelos.gateway.identity.principal import SignIn, principal_of
from mycelos.gateway.middleware.problems import send_refusal
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_WITHOUT_BROWSER: Final = frozenset({SignIn.COMMAND_LINE, SignIn.BASIC})


class OriginCheck:
    """Refuses with 403 what does not come from this gateway's own pages, or from no page at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] == "http":
            try:
                _check(scope)
            except Refusal as refusal:
                await send_refusal(refusal, scope, receive, send)
                return
        await self._app(scope, receive, send)


def _check(scope: Scope) -> None:
    origin = single_header(scope, b"origin")
    site = single_header(scope, b"sec-fetch-site")
    if origin is not None and origin != scope["state"]["origin"]:
        _refuse("The Origin header names another site.")
    if scope["method"] in _SAFE_METHODS:
        if site is not None and site not in _OWN_SITES and not _is_navigation(scope):
            _refuse("Another site's page asked for this; it may only link here.")
        return
    if site is not None and site != "same-origin":
        _refuse("The request was made by another site's page.")
    if origin is None and site is None:
        principal = principal_of(scope)
        # A program sends its credential by intent; a cookie is sent by any page that asks.
        if principal is None or principal.sign_in not in _WITHOUT_BROWSER:
            _refuse("The request does not say which page it comes from (no Origin header).")


def _is_navigation(scope: Scope) -> bool:
    """Whether a person follows a link to a page here: a document in a window, never an event stream or a frame."""
    if str(scope["path"]).startswith("/api/"):
        return False
    return (single_header(scope, b"sec-fetch-mode"), single_header(scope, b"sec-fetch-dest")) == (
        "navigate",
        "document",
    )


def _refuse(detail: str) -> NoReturn:
    raise Refusal(
        ProblemCode.ORIGIN_NOT_ALLOWED,
        detail,
        "Use the pages of Mycelos itself; a program uses the command line's token or HTTP Basic.",
    )
