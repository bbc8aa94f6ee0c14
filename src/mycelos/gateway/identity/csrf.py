"""The token in each form, bound to the session: a page that cannot read ours cannot know it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from mycelos.gateway.identity.principal import Principal
from mycelos.wire.problems import ProblemCode, Refusal

FIELD: Final = "form_token"
_CONTEXT: Final = b"mycelos/form-token/1"


def form_token(session_token: str) -> str:
    """The token of one session's forms: HMAC-SHA-256 under the session's own secret, so nothing is stored."""
    digest = hmac.digest(session_token.encode("ascii"), _CONTEXT, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def check_form_token(principal: Principal, submitted: str) -> None:
    """Compare in constant time.

    Raises:
        Refusal: `forbidden`, absent, of another session, or sent without a session.
    """
    if not principal.form_token or not hmac.compare_digest(principal.form_token.encode(), submitted.encode()):
        raise Refusal(
            ProblemCode.FORBIDDEN,
            "The form is not one of this session.",
            "Reload the page and send the form again.",
        )
