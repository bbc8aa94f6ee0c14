"""Third layer: nobody gets further without a session, the command line's token or the password."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mycelos.gateway.identity.basic_header import parse_basic
from mycelos.gateway.identity.client_address import client_address
from mycelos.gateway.identity.lockout import Lockout
from mycelos.gateway.identity.passwords import PasswordCheck
from mycelos.gateway.identity.principal import Principal, SignIn, unauthorized
from mycelos.gateway.identity.sessions import NewSession, Sessions, cookie_values, set_cookie
from mycelos.gateway.identity.sign_in_record import IS_RECORDED, SignInRecord
from mycelos.gateway.middleware.problems import send_refusal, wants_page
from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal

_OPEN_PATHS: Final = frozenset({"/healthz", "/login"})
_OPEN_PREFIX: Final = "/static/"
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Mycelos", charset="UTF-8"'}


class Authentication:
    """Puts a `Principal` into ``scope["state"]``, or answers 401 (a browser without password: to the sign-in page)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        record: SignInRecord,
        lockout: Lockout,
        command_line_token: str,
        password: PasswordCheck | None,
        trusted_proxies: Sequence[str],
    ) -> None:
        if not command_line_token:
            message = "the command line's token is empty"
            raise ValueError(message)
        self._app = app
        self._sessions = sessions
        self._record = record
        self._lockout = lockout
        self._token = command_line_token.encode()
        self._password = password
        self._trusted_proxies = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state, path = scope["state"], str(scope["path"])
        state["client"] = client_address(scope, self._trusted_proxies)
        is_open = path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX)
        try:
            state["principal"] = await self._find(scope, is_open=is_open)
            if state["principal"] is None and not is_open:
                raise unauthorized()
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
            return
        await self._serve(scope, receive, send)

    async def _find(self, scope: Scope, *, is_open: bool) -> Principal | None:
        authorization = single_header(scope, b"authorization")
        scheme = (authorization or "").partition(" ")[0].lower()
        if authorization is not None and scheme == "bearer":
            return await self._command_line(authorization.partition(" ")[2], scope)
        session = await self._sessions.find(cookie_values(scope, scope["state"]["origin"]))
        # An open address needs nobody: a password sent along is no reason for work there.
        if session is not None or authorization is None or is_open:
            return session
        if scheme == "basic" and self._password is not None:
            return await self._basic(self._password, authorization, scope)
        raise unauthorized(detail="This way of signing in is not known here.")

    async def _command_line(self, token: str, scope: Scope) -> Principal:
        client = scope["state"]["client"]
        if not hmac.compare_digest(self._token, token.encode("latin-1", "replace")):
            # Recorded a few times only: whoever floods the ledger would hide other entries in it.
            if not self._lockout.seconds_left(f"bearer {client}"):
                attempts = self._lockout.record_failure(f"bearer {client}").attempts
                await self._record.failed(client, "command_line", "wrong token", attempts)
            scope["state"][IS_RECORDED] = True
            raise unauthorized(detail="The bearer token is not this gateway's.")
        return Principal(SignIn.COMMAND_LINE)

    async def _basic(self, check: PasswordCheck, authorization: str, scope: Scope) -> Principal:
        client = scope["state"]["client"]
        self._refuse_while_locked(client)
        password = parse_basic(authorization)
        if password is not None and check.is_known(password):
            return Principal(SignIn.BASIC)
        if password is not None and await check.is_right(password):
            # While this attempt waited for its turn, others of the same client may have failed.
            self._refuse_while_locked(client)
            if not wants_page(scope):
                # Else the session is recorded, once it has one.
                await self._record.signed_in(client, "basic")
            self._lockout.record_success(client)
            return Principal(SignIn.BASIC)
        failures = self._lockout.record_failure(client)
        await self._record.failed(
            client, "basic", "malformed" if password is None else "wrong password", failures.attempts
        )
        if failures.locked_until:
            await self._record.locked_out(client, failures.attempts, self._lockout.seconds_left(client))
        scope["state"][IS_RECORDED] = True
        raise unauthorized(detail="The password is not right.")

    def _refuse_while_locked(self, client: str) -> None:
        left = self._lockout.seconds_left(client)
        if left > 0:
            raise Refusal(
                ProblemCode.LOCKED_OUT,
                f"Too many wrong passwords from this address; the next one is looked at in {int(left) + 1} seconds.",
                "Wait, or sign in with the link that `mycelos open` prints.",
            )

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        is_unauthorized = refusal.problem.code is ProblemCode.UNAUTHORIZED
        if is_unauthorized and self._password is None and wants_page(scope) and scope["method"] == "GET":
            await RedirectResponse("/login", 303)(scope, receive, send)
            return
        headers = dict(_CHALLENGE) if is_unauthorized and self._password is not None else {}
        if refusal.problem.code is ProblemCode.LOCKED_OUT:
            headers["Retry-After"] = str(int(self._lockout.seconds_left(scope["state"]["client"])) + 1)
        await send_refusal(refusal, scope, receive, send, headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; a browser that signed in by password gets a session, so that forms have one to belong to."""
        principal = scope["state"]["principal"]
        if principal is None or principal.sign_in is not SignIn.BASIC or not wants_page(scope):
            await self._app(scope, receive, send)
            return
        session = await self._record.open_session(self._sessions, scope["state"]["client"], "basic")
        opened = await self._sessions.find([session.token])
        scope["state"]["principal"] = opened or principal
        await self._app(scope, receive, _with_cookie(send, Request(scope), session))


def _with_cookie(send: Send, request: Request, session: NewSession) -> Send:
    carrier = Response()
    set_cookie(carrier, request.state.origin, session.token)
    cookies = [(name, value) for name, value in carrier.raw_headers if name == b"set-cookie"]

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *cookies]}
        await send(message)

    return send_with_cookie
