"""Binding v1, decided for one request: every field of the binding must agree. The caller's wishes only narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mycelos.proxy.egress.credential_names import carries_credential
from mycelos.proxy.egress.inject import same_form
from mycelos.wire.binding import Binding, UrlPath
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.proxy.egress.url import CanonicalUrl


@dataclass(frozen=True)
class Request:
    """What a binding is asked about. ``inject_as`` is None where the caller left the form to the binding."""

    method: str
    url: CanonicalUrl
    inject_as: str | None


def violations(binding: Binding, request: Request) -> tuple[str, ...]:
    """The names of the binding's fields that do not agree with the request; none means that it may go."""
    url = request.url
    checks = {
        "v": binding.v == 1,
        "scheme": binding.scheme == url.scheme,
        "host": binding.host == url.host,
        "port": binding.port == url.port,
        "methods": request.method in {method.value for method in binding.methods},
        "path": _path_agrees(binding, url),
        "query": _query_agrees(binding, url),
        "inject": (request.inject_as is None or same_form(request.inject_as, binding.inject))
        and isinstance(binding.inject, UrlPath) == url.has_placeholder,
    }
    return tuple(name for name, agrees in checks.items() if not agrees)


def _path_agrees(binding: Binding, url: CanonicalUrl) -> bool:
    if url.segments[: len(binding.path)] != binding.path:
        return False
    # A session or token among a segment's parameters would be the caller's own.
    parameters = [parameter for segment in url.segments[len(binding.path) :] for parameter in segment.split(";")[1:]]
    return not any(carries_credential(parameter.partition("=")[0]) for parameter in parameters)


def _query_agrees(binding: Binding, url: CanonicalUrl) -> bool:
    if url.query is None:
        return True
    # Some servers split at semicolons too, so a key is looked for behind both.
    texts = (url.query, url.query.replace(";", "&"))
    keys = {key for text in texts for key, _ in parse_qsl(text, keep_blank_values=True)}
    if isinstance(binding.query, tuple):
        return keys <= set(binding.query)
    # A binding that lists such a key by name allows it.
    return binding.query == "any" and not any(map(carries_credential, keys))


def choose(bindings: Sequence[Binding], request: Request) -> Binding:
    """The first binding that agrees in every field.

    Raises:
        Violation: none does; it names the fields of the one that came nearest.
    """
    nearest: tuple[str, ...] | None = None
    for binding in bindings:
        wrong = violations(binding, request)
        if not wrong:
            return binding
        if nearest is None or len(wrong) < len(nearest):
            nearest = wrong
    raise Violation(nearest or ("bindings",))


class Violation(Refusal):
    """The credential is not bound to this request (`binding_violation`). ``fields`` says where they differ."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(
            ProblemCode.BINDING_VIOLATION,
            f"The credential is not bound to this request: {', '.join(fields)} differ.",
            "Compare with: mycelos credential show SERVICE; the operator can widen it with: mycelos credential bind",
        )
        self.fields = fields
