"""The session's cookie, and the path that it is bound to.

Cookies know no ports (RFC 6265, section 8.5): what is set for the whole of `localhost` goes to the gateway's page too.
They do know paths: bound to one that nobody can guess, the cookie goes nowhere but to the session's own pages.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from mycelos.operator.sessions import LIFETIME_SECONDS, NewSession

HOMES: Final = "/s"
"""Below it each session has its pages."""

_NAME: Final = "mycelos_operator"
_CANDIDATES_LIMIT: Final = 4


def home_of(path_token: str) -> str:
    """The path of one session's pages, without a slash at its end."""
    return f"{HOMES}/{path_token}"


class SessionCookie:
    """Reads, sets and clears the cookie; behind TLS under a name that plain HTTP cannot set."""

    def __init__(self, *, is_https: bool) -> None:
        self._is_https = is_https
        # Not __Host-: that prefix demands Path=/, and so a cookie for every port (RFC 6265bis, section 4.1.3.2).
        self._name = f"__Secure-{_NAME}" if is_https else _NAME

    def values(self, scope: Scope) -> list[str]:
        """Each value that came under the cookie's name, at most four.

        Another port of this machine can plant cookies of the same name for a shorter path. Browsers send those after
        ours (RFC 6265, section 5.4), and looking at one value only could let them sign the operator out.
        """
        values: list[str] = []
        for key, header in scope["headers"]:
            if key == b"cookie":
                for part in header.decode("latin-1").split(";"):
                    name, _, value = part.strip().partition("=")
                    if name == self._name:
                        values.append(value)
        return values[:_CANDIDATES_LIMIT]

    def give(self, response: Response, new: NewSession) -> None:
        """Hand a new session to the browser, for its own pages alone."""
        response.set_cookie(
            self._name,
            new.cookie,
            max_age=LIFETIME_SECONDS,
            path=home_of(new.path_token),
            secure=self._is_https,
            httponly=True,
            samesite="strict",
        )

    def clear(self, response: Response, home: str) -> None:
        """Take the cookie of the session at ``home`` away from the browser."""
        response.delete_cookie(self._name, path=home, secure=self._is_https, httponly=True, samesite="strict")
