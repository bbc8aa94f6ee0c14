"""One request to the outside, as a door hands it to the pipeline, and what the record says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mycelos.proxy.egress.http_client import Deadlines
from mycelos.wire.binding import Method
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mycelos.proxy.egress.url import CanonicalUrl
    from mycelos.proxy.vault.records import Credential
    from mycelos.wire.binding import Binding

_PATH_ON_RECORD: Final = 900


@dataclass(frozen=True)
class EgressCall:
    """What a caller asks for; nothing of it is believed. ``door`` is ``http`` or ``forward``.

    ``body`` is bytes, or pieces that arrive while they are sent, with ``length`` where the caller gave one.
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
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True)
class Grant:
    """Why a request may go: a credential under one of its bindings, or an egress rule."""

    credential: Credential | None
    binding: Binding | None
    rule_id: str


def checked_method(text: str) -> str:
    """The method, if it is one that a binding can name; TRACE, CONNECT and unknown ones are refused.

    Raises:
        Refusal: `method_not_allowed`.
    """
    if text in {method.value for method in Method}:
        return text
    raise Refusal(
        ProblemCode.METHOD_NOT_ALLOWED,
        "The method is not one that can be sent.",
        f"Use one of {', '.join(method.value for method in Method)}, in capitals.",
    )


def describe(call: EgressCall, url: CanonicalUrl | None) -> dict[str, Any]:
    """The record's details: scheme, host, port and path template, never a query, header or body."""
    details: dict[str, Any] = {"door": call.door}
    if call.method in {method.value for method in Method}:
        details["method"] = call.method
    if call.purpose:
        details["purpose"] = call.purpose
    if call.service is not None:
        details["service"] = call.service
    if url is not None:
        details |= {"scheme": url.scheme, "host": url.host, "port": url.port, "path": url.path[:_PATH_ON_RECORD]}
    return details
