"""One request to the outside, as a door hands it to the pipeline, and why it may go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mycelos.proxy.egress.http_client import Deadlines
from mycelos.wire.binding import Method
from mycelos.wire.operator import ANY_HOST
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mycelos.proxy.egress.approval_check import Held
    from mycelos.proxy.egress.headers import Headers
    from mycelos.proxy.egress.rules import EgressRule
    from mycelos.proxy.vault.records import Credential
    from mycelos.wire.binding import Binding

_METHODS: Final = frozenset(method.value for method in Method)


@dataclass(frozen=True)
class EgressCall:
    """What a caller asks for; nothing of it is believed. ``door`` is ``http``, ``forward`` or ``operator``.

    ``body`` is bytes, or pieces that arrive while they are sent, with ``length`` where the caller gave one.
    ``approval`` is the id that the caller names, empty where it names none.
    """

    method: str
    url: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] | None
    length: int | None
    service: str | None
    inject_as: str | None
    run: str
    agent: str
    purpose: str
    door: str
    approval: str
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True)
class Grant:
    """Why a request may go, and with which headers: a credential under one of its bindings, or an egress rule.

    ``approval`` is a person's, where the binding demands one.
    """

    credential: Credential | None
    binding: Binding | None
    rule: EgressRule | None
    outgoing: Headers = field(default_factory=list)
    approval: Held | None = None

    @property
    def is_web(self) -> bool:
        """Whether it goes only because the operator allows reading from every public host."""
        return self.rule is not None and self.rule.host == ANY_HOST


def checked_method(text: str) -> str:
    """The method, if it is one that a binding can name; TRACE, CONNECT and unknown ones are refused.

    Raises:
        Refusal: `method_not_allowed`.
    """
    if text in _METHODS:
        return text
    raise Refusal(
        ProblemCode.METHOD_NOT_ALLOWED,
        "The method is not one that can be sent.",
        f"Use one of {', '.join(method.value for method in Method)}, in capitals.",
    )
