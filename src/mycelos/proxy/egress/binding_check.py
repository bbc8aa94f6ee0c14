"""Binding v1, decided for one request: every field of the binding must agree. The caller's wishes only narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from mycelos.proxy.egress.inject import same_form
from mycelos.wire.binding import Binding, UrlPath
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.proxy.egress.url import CanonicalUrl

# Keys in which services take a credential or another method: with an injected credential the caller's own would
# decide whose account it is. A binding that lists the key by name allows it.
_SIGNING_KEYS: Final = frozenset(
    {
        "_method",
        "access_key",
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth",
        "auth_token",
        "authorization",
        "client_secret",
        "key",
        "oauth_token",
        "password",
        "private_token",
        "secret",
        "sig",
        "signature",
        "token",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
        "x-http-method-override",
    }
)


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
        "path": url.segments[: len(binding.path)] == binding.path,
        "query": _query_agrees(binding, url),
        "inject": (request.inject_as is None or same_form(request.inject_as, binding.inject))
        and isinstance(binding.inject, UrlPath) == url.has_placeholder,
    }
    return tuple(name for name, agrees in checks.items() if not agrees)


def _query_agrees(binding: Binding, url: CanonicalUrl) -> bool:
    if url.query is None:
        return True
    # Some servers split at semicolons too, so a key is looked for behind both.
    texts = (url.query, url.query.replace(";", "&"))
    keys = {key for text in texts for key, _ in parse_qsl(text, keep_blank_values=True)}
    if isinstance(binding.query, tuple):
        return keys <= set(binding.query)
    return binding.query == "any" and not {key.lower().partition("[")[0] for key in keys} & _SIGNING_KEYS


def choose(bindings: Sequence[Binding], request: Request) -> Binding:
    """The first binding that agrees in every field.

    Raises:
        Violation: none does; it names the fields of the one that came nearest.
        Refusal: `approval_required`; a person decides each use.
    """
    nearest: tuple[str, ...] | None = None
    for binding in bindings:
        wrong = violations(binding, request)
        if not wrong:
            if binding.confirm:
                raise Refusal(
                    ProblemCode.APPROVAL_REQUIRED,
                    "Each use of this credential waits for a person, and no approval came with the request.",
                    "Decide it at the vault page, or bind the credential without confirm.",
                )
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
