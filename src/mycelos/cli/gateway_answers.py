"""What the gateway may answer to the command line; anything else is an error.

A gateway that was taken over chooses every byte of its answers, and they end in a terminal, a browser, or a command
that a person copies.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from mycelos.policy.capabilities import check_capability
from mycelos.wire.identifiers import Kind, parse_identifier

Answer = TypeVar("Answer")

_NESTING_LIMIT: Final = 64

Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,63}\Z")]
Service = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")]
Moment = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z\Z")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Code = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]
"""256 random bits in base64url."""


class AnswerError(Exception):
    """The answer is not of the form that was asked for."""


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer: every field required, none besides."""


class Agent(Checked, frozen=True):
    """One agent."""

    name: Name
    instructions: Annotated[str, Meta(max_length=8000)]
    capabilities: Annotated[list[str], Meta(max_length=64)]
    model: Name | None
    created_at: Moment

    def __post_init__(self) -> None:
        """Refuse what is no capability."""
        for capability in self.capabilities:
            check_capability(capability)


class Model(Checked, frozen=True):
    """One model endpoint."""

    name: Name
    format: Literal["openai", "anthropic"]
    base_url: Annotated[str, Meta(pattern=r"\Ahttps?://[^\x00-\x20\x7f-\xa0]{1,2048}\Z")]
    model: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,256}\Z")]
    credential: Service | None
    created_at: Moment


class Chat(Checked, frozen=True):
    """One chat."""

    id: str
    title: str
    agent: Name
    created_at: Moment
    updated_at: Moment

    def __post_init__(self) -> None:
        """Refuse what is no chat's identifier."""
        parse_identifier(Kind.CHAT, self.id)


class StartedRun(Checked, frozen=True):
    """A message was taken."""

    run_id: str

    def __post_init__(self) -> None:
        """Refuse what is no run's identifier."""
        parse_identifier(Kind.RUN, self.run_id)


class Cancelled(Checked, frozen=True):
    """Whether the run was open."""

    cancelled: bool


class EndedAll(Checked, frozen=True):
    """How many sessions and runs have ended."""

    sessions: Count
    runs: Count


class Tested(Checked, frozen=True):
    """What a model endpoint answered to a test."""

    answer: str


class Link(Checked, frozen=True):
    """A one-time link's secret, and its end."""

    code: Code
    expires_at: Moment


def decode_answer(content: bytes, kind: type[Answer]) -> Answer:
    """``content`` as a value of this kind.

    Raises:
        AnswerError: it is none.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise AnswerError from None


def decode_object(content: bytes) -> dict[str, Any]:
    """``content`` as a JSON object of unknown fields that is nested so little that everybody can walk through it.

    Raises:
        AnswerError: it is none.
    """
    found = decode_answer(content, dict[str, Any])
    if _is_deeper(found, _NESTING_LIMIT):
        raise AnswerError
    return found


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(each, levels - 1) for each in inner))
