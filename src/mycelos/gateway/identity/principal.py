"""Who makes a request. There is one owner; what differs is how the owner showed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from starlette.types import Scope

from mycelos.wire.problems import ProblemCode, Refusal

OWNER: Final = "owner"


class SignIn(StrEnum):
    """How a request showed whose it is."""

    SESSION = "session"
    BASIC = "basic"
    COMMAND_LINE = "command_line"


@dataclass(frozen=True)
class Principal:
    """The owner, by one way in. ``form_token`` guards the forms of a session; other ways in use no forms."""

    sign_in: SignIn
    session_id: str = ""
    form_token: str = field(default="", repr=False)
    name: str = OWNER


def principal_of(scope: Scope) -> Principal | None:
    """Whom the authentication layer found, or None on the few addresses that need nobody."""
    found = scope.get("state", {}).get("principal")
    return found if isinstance(found, Principal) else None


def require_principal(scope: Scope) -> Principal:
    """Whom the authentication layer found.

    Raises:
        Refusal: `unauthorized`, nobody.
    """
    principal = principal_of(scope)
    if principal is None:
        raise unauthorized()
    return principal


def unauthorized(detail: str = "Nobody is signed in.") -> Refusal:
    """The refusal for a request without a valid sign-in."""
    return Refusal(ProblemCode.UNAUTHORIZED, detail, "Run `mycelos open` and follow the link that it prints.")
