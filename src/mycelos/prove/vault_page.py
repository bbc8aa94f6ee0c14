"""V4: the running vault page, where secrets are typed, as another page, another site and another session meet it.

Harmless: the one session that is looked at is this probe's own, signed in as `mycelos open --operator` does and signed
out at the end. What is posted would end that session, or names what does not exist.
"""

from __future__ import annotations

import http.client
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from mycelos.operator.app import VaultPage
from mycelos.operator.client import OperatorClient
from mycelos.operator.sessions import Sessions
from mycelos.prove.outcome import CannotShowError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mycelos.prove.installation import Installation

_SECONDS: Final = 20.0
_MADE_UP: Final = "x" * 43
_EVIL: Final = "https://evil.example"
_MISDIRECTED, _FORBIDDEN, _AWAY = 421, 403, 303
_SIGN_OUT: Final = "/logout"
_FORM_TOKEN: Final = re.compile(r'name="form_token" value="([^"]+)"')
_COOKIE: Final = re.compile(r"([^=;]+=[^;]+)")
_HOME: Final = re.compile(r"(/s/[A-Za-z0-9_-]+)/")
_CHANGES_EVERYTHING: Final = "/logout/everywhere"
"""A route that would reach the sessions of other people: not tried here."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class _Session:
    """This probe's own: the path of its pages, its cookie, and the token of its forms."""

    home: str
    cookie: str
    token: str


class _Page:
    """The vault page at its port on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.origin = f"http://localhost:{port}"

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> _Answer:
        """One request with exactly these headers, framing aside; a Host of the page's unless one is given or empty."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        told = {"Host": f"localhost:{self.port}", **headers}
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in told.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Type", "application/x-www-form-urlencoded")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(None if body is None else body.encode("ascii"))
            response = connection.getresponse()
            return _Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            message = f"the vault page at {self.origin} does not answer ({type(error).__name__})"
            raise CannotShowError(message) from None
        finally:
            connection.close()

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> _Answer:
        """A form, from the page itself unless ``headers`` say otherwise."""
        return self.ask("POST", path, {"Origin": self.origin, **(headers or {})}, urlencode(fields))

    def look(self, session: _Session) -> _Answer:
        """The session's first page."""
        return self.ask("GET", f"{session.home}/", {"Cookie": session.cookie})


def probe_vault_page(installation: Installation) -> list[Finding]:
    """V4, live: names and pages that are not its own, then one session from all sides."""
    page = _Page(installation.running().operator_port)
    status = page.ask("GET", "/healthz", {}).status
    if status != 200:
        message = f"the vault page does not say that it is well (status {status}), so refusals would show nothing"
        raise CannotShowError(message)
    client = OperatorClient(installation.layout)
    findings = [*_foreign_names(page), _framed(page)]
    session = _sign_in(page, client)
    try:
        return [
            *findings,
            *_without_the_session(page, session),
            *_foreign_forms(page, session, client),
            *_foreign_pages(page, session),
        ]
    finally:
        page.post(session.home + _SIGN_OUT, {"form_token": session.token}, {"Cookie": session.cookie})


def _foreign_names(page: _Page) -> Iterator[Finding]:
    for tried, host in (
        ("under a foreign name (DNS rebinding)", f"evil.example:{page.port}"),
        ("under its name with another port", "localhost:1"),
        ("under no name", ""),
    ):
        answer = page.ask("GET", "/login", {"Host": host})
        yield Finding(f"reach the vault page {tried}", f"status {answer.status}",
                      held=answer.status in ({400, _MISDIRECTED} if not host else {_MISDIRECTED}))  # fmt: skip


def _foreign_pages(page: _Page, session: _Session) -> Iterator[Finding]:
    """A form that is right in all but where it was sent from: taken, it would end the session."""
    for tried, headers in (
        ("from a foreign page", {"Origin": _EVIL}),
        ("from a page on another port of this machine", {"Origin": "http://localhost:1"}),
        ("from a page without an origin", {"Origin": "null"}),
        ("without saying from where", {"Origin": ""}),
        ("across sites", {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = page.post(
            session.home + _SIGN_OUT, {"form_token": session.token}, {"Cookie": session.cookie, **headers}
        )
        yield Finding(f"send the vault page a form {tried}", f"status {answer.status}",
                      held=answer.status == _FORBIDDEN)  # fmt: skip
    yield _lives(page, session, "by a form from elsewhere")


def _framed(page: _Page) -> Finding:
    """In a frame of another page a person does not see where they type."""
    headers = page.ask("GET", "/login", {}).headers
    policy = [part.strip() for part in (headers["Content-Security-Policy"] or "").split(";")]
    said = {
        "X-Frame-Options": headers["X-Frame-Options"] == "DENY",
        "frame-ancestors": "frame-ancestors 'none'" in policy,
        "form-action": "form-action 'self'" in policy,
        "no-store": headers["Cache-Control"] == "no-store",
    }
    missing = [name for name, is_said in said.items() if not is_said]
    happened = f"its headers do not forbid it: {', '.join(missing)}" if missing else "its headers forbid it"
    return Finding(
        "show the vault page in a frame, send its forms elsewhere, or keep a copy", happened, held=not missing
    )


def _sign_in(page: _Page, client: OperatorClient) -> _Session:
    answer = page.post("/login", {"code": client.create_link().code})
    home = _HOME.fullmatch(answer.headers["Location"] or "")
    cookie = _COOKIE.match(answer.headers["Set-Cookie"] or "")
    if answer.status == _AWAY and home and cookie:
        session = _Session(home[1], cookie[1], "")
        token = _FORM_TOKEN.search(page.look(session).text)
        if token:
            return _Session(home[1], cookie[1], token[1])
    message = f"the vault page does not let its operator in (status {answer.status}), so refusals would show nothing"
    raise CannotShowError(message)


def _without_the_session(page: _Page, session: _Session) -> Iterator[Finding]:
    """Path and cookie belong together: neither opens anything alone."""
    name = session.cookie.partition("=")[0]
    for tried, home, cookie in (
        ("without its cookie", session.home, ""),
        ("with a made-up cookie", session.home, f"{name}={_MADE_UP}"),
        ("by its cookie at a made-up path", f"/s/{_MADE_UP}", session.cookie),
    ):
        answer = page.ask("GET", f"{home}/", {"Cookie": cookie})
        yield _turned_away(f"open a session's page {tried}", answer, session)
        answer = page.post(home + _SIGN_OUT, {"form_token": session.token}, {"Cookie": cookie})
        yield _turned_away(f"send a session's form {tried}", answer, session)
    yield _lives(page, session, "without its cookie or its path")


def _turned_away(tried: str, answer: _Answer, session: _Session) -> Finding:
    is_sent_away = answer.status == _AWAY and answer.headers["Location"] == "/login"
    held = is_sent_away and session.token not in answer.text and not answer.headers["Set-Cookie"]
    return Finding(tried, f"status {answer.status}", held)


def _foreign_forms(page: _Page, session: _Session, client: OperatorClient) -> Iterator[Finding]:
    """Forms that were not made for this session: each of them, where nothing of that name exists."""
    nobody = f"probe-{secrets.token_hex(8)}"
    routes = VaultPage(client, Sessions(), page.origin).session_routes()
    paths = [route.path for route in routes if "POST" in (route.methods or ()) and route.path != _CHANGES_EVERYTHING]
    cookie = {"Cookie": session.cookie}
    statuses = {
        path: page.post(session.home + re.sub(r"\{\w+\}", nobody, path), {"form_token": _MADE_UP}, cookie).status
        for path in paths
        if path != _SIGN_OUT
    }
    wrong = [f"{path} ({status})" for path, status in statuses.items() if status != _FORBIDDEN]
    happened = f"otherwise than refused: {', '.join(wrong)}" if wrong else f"each of {len(statuses)} is refused"
    yield Finding("send each form of the vault page with a made-up token", happened, held=not wrong)
    for tried, fields in (("without its token", {}), ("with a made-up token", {"form_token": _MADE_UP})):
        answer = page.post(session.home + _SIGN_OUT, fields, cookie)
        yield Finding(f"sign a session out by a form {tried}", f"status {answer.status}",
                      held=answer.status == _FORBIDDEN)  # fmt: skip
    yield _lives(page, session, "by a form with another token")


def _lives(page: _Page, session: _Session, how: str) -> Finding:
    """The control: what was refused did nothing, and the session's own cookie and path still open it."""
    answer = page.look(session)
    held = answer.status == 200 and session.token in answer.text
    return Finding(f"end a session {how}", "it lives" if held else f"status {answer.status}", held)
