"""Does a person's approval cover this request? Asked where a binding says ``confirm``, of what will go out.

An approval is for one request, byte for byte, under one version of its credential, and is used once. Whatever differs
is refused; so is what was decided otherwise, or not decided.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from mycelos.ledger.canonical import canonical
from mycelos.wire.problems import PendingApproval, ProblemCode, Refusal

WAITING_BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body that waits for a person, at most: it is kept in memory until it is decided."""
_DOMAIN: Final = b"mycelos/approval/1"
_ASK_AGAIN: Final = "Send the request without an approval, and a person is asked again."


class State(StrEnum):
    """What has become of a request that a person was asked about."""

    WAITING = "waiting"
    APPROVED = "approved"
    SENT = "sent"
    REFUSED = "refused"
    ENDED = "ended"


class Misuse(StrEnum):
    """What is wrong with the use of an approval, as the record says it."""

    ANOTHER = "approval_of_another"
    USED = "approval_used"


@dataclass(frozen=True)
class Asked:
    """One request, exactly as it will be sent, but for the secret and the framing; and who asks, as the caller says.

    ``headers`` are those that go out, in their order, decoded as Latin-1; ``body`` is None where there is none.
    """

    service: str
    credential_id: str
    credential_version: int
    method: str
    url: str
    inject_as: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    run: str
    agent: str
    purpose: str

    @property
    def asker(self) -> tuple[str, str, str]:
        """Run, agent and purpose: an approval is for whom it was asked for."""
        return self.run, self.agent, self.purpose

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits, about."""
        heads = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.url) + heads + len(self.body or b"")

    def digest(self, nonce: str, expires_at: str) -> str:
        """What a person's decision names: SHA-256, in hex, over the domain and the RFC 8785 form of the request."""
        covered = {
            "credential_id": self.credential_id,
            "credential_version": self.credential_version,
            "method": self.method,
            "url": self.url,
            "headers_sha256": sha256(canonical([list(header) for header in self.headers])).hexdigest(),
            "body_sha256": None if self.body is None else sha256(self.body).hexdigest(),
            "nonce": nonce,
            "expires_at": expires_at,
        }
        return sha256(_DOMAIN + canonical(covered)).hexdigest()


@dataclass(frozen=True)
class Held:
    """A request that a person was asked about. ``asked`` is there while it waits or is approved, and gone afterwards.

    ``ends`` is a time of the monotonic clock; ``expires_at``, which people see, is RFC 3339.
    """

    id: str
    digest: str
    nonce: str
    created_at: str
    expires_at: str
    ends: float
    asker: tuple[str, str, str]
    asked: Asked | None
    state: State


class UnapprovedError(Refusal):
    """No approval that is known came with the request: a person is to be asked about ``asked``."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(
            ProblemCode.APPROVAL_REQUIRED,
            "Each use of this credential waits for a person, and no approval that is known came with the request.",
            _ASK_AGAIN,
        )
        self.asked = asked


class WaitingError(Refusal):
    """A person is asked, and has not decided. That is on record already."""

    def __init__(self, held: Held) -> None:
        super().__init__(
            ProblemCode.APPROVAL_REQUIRED,
            f"Each use of this credential waits for a person, who can decide {held.id} until {held.expires_at}.",
            "Decide it at the vault page, or see it with: mycelos approval list - then send the same request with its "
            "id as the approval.",
            PendingApproval(id=held.id, expires_at=held.expires_at),
        )


class DecidedError(Refusal):
    """A person has refused the request, or nobody decided it in time. That is on record already."""


class MisusedError(Refusal):
    """An approval that is not for this request any more, or never was. ``fields`` says which, for the record."""

    def __init__(self, misuse: Misuse, detail: str) -> None:
        super().__init__(ProblemCode.APPROVAL_REQUIRED, detail, _ASK_AGAIN)
        self.fields = (misuse.value,)


def judge(held: Held | None, asked: Asked, *, is_on_its_way: bool) -> Held:
    """The approval under which ``asked`` may go.

    Args:
        held: what is known under the id that came with the request.
        asked: the request at hand.
        is_on_its_way: it was sent under this approval already, and is decided again.

    Raises:
        UnapprovedError, WaitingError, DecidedError, MisusedError: it may not.
    """
    if held is None:
        raise UnapprovedError(asked)
    is_same = hmac.compare_digest(asked.digest(held.nonce, held.expires_at), held.digest)
    if not is_same or asked.asker != held.asker:
        # A credential that was rotated or bound anew has another version: nobody saw that request.
        detail = f"The approval is for another request: {_difference(held.asked, asked)}."
        raise MisusedError(Misuse.ANOTHER, detail)
    if held.state is (State.SENT if is_on_its_way else State.APPROVED):
        return held
    match held.state:
        case State.WAITING:
            raise WaitingError(held)
        case State.REFUSED:
            raise DecidedError(ProblemCode.FORBIDDEN, "A person has refused this request.", "Do without it.")
        case State.ENDED:
            raise DecidedError(
                ProblemCode.APPROVAL_REQUIRED, "Nobody decided in time, or the approval was taken back.", _ASK_AGAIN
            )
        case State.SENT | State.APPROVED:
            detail = "The approval was used: each is good for one request."
            raise MisusedError(Misuse.USED, detail)


def _difference(known: Asked | None, asked: Asked) -> str:
    if known is None:
        return "something in it differs"
    names = [name for name in Asked.__dataclass_fields__ if getattr(known, name) != getattr(asked, name)]
    return f"{', '.join(name.replace('_', ' ') for name in names)} differ"
