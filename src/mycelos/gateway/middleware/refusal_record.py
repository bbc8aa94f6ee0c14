"""What the walls of this page refuse leaves an entry: foreign names and origins, forms of nobody, unknown routes.

It stands above every layer that refuses, and looks at what an answer says of itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.gateway.identity.client_address import client_address
from mycelos.gateway.identity.lockout import Lockout
from mycelos.gateway.identity.sign_in_record import IS_RECORDED, SignInRecord
from mycelos.wire.problems import REFUSED_HEADER, ProblemCode, Refusal

_WALLS: Final = frozenset({ProblemCode.FORBIDDEN, ProblemCode.HOST_NOT_ALLOWED, ProblemCode.ORIGIN_NOT_ALLOWED})
_OF_CHANGES: Final = frozenset({ProblemCode.METHOD_NOT_ALLOWED, ProblemCode.NOT_FOUND, ProblemCode.UNAUTHORIZED})
"""Recorded of what would change something. A browser whose session is over, or a mistyped address, is no event."""
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


class RefusalRecord:
    """Records each kind of refusal for each client a few times, then ever more rarely, as wrong passwords are."""

    def __init__(self, app: ASGIApp, *, record: SignInRecord, lockout: Lockout, trusted_proxies: Sequence[str]) -> None:
        self._app = app
        self._record = record
        self._lockout = lockout
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                code = Headers(raw=message.get("headers", [])).get(REFUSED_HEADER)
                if code is not None and _is_event(scope, code):
                    await self._note(scope, code)
            await send(message)

        await self._app(scope, receive, send_recorded)

    async def _note(self, scope: Scope, code: str) -> None:
        client = client_address(scope, self._trusted_proxies)
        if self._lockout.seconds_left(f"{code} {client}"):
            return
        attempts = self._lockout.record_failure(f"{code} {client}").attempts
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # The path as the route has it: what stands in its place was chosen by whoever asked.
        path = getattr(scope.get("route"), "path", "")
        try:
            await self._record.refused(client, code, method=method, path=path, attempts=attempts)
        except Refusal:
            # It is refused all the same, and nothing was done.
            return


def _is_event(scope: Scope, code: str) -> bool:
    if scope.get("state", {}).get(IS_RECORDED):
        return False
    if code == ProblemCode.NOT_FOUND and "route" in scope:
        # What a known route does not find, its owner misspelt.
        return False
    return code in _WALLS or (code in _OF_CHANGES and scope["method"] not in _SAFE_METHODS)
