"""Puts one secret into one request, in the form that the binding names and nowhere else.

The request has been decided before; here nothing can change its host, framing or method. A placeholder that would
go out as it is, is a refusal.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import quote, unquote_to_bytes

from mycelos.wire.binding import Basic, Bearer, Header, Injection, UrlPath
from mycelos.wire.egress import CREDENTIAL_PLACEHOLDER
from mycelos.wire.injection import SecretNotInjectableError, check_injectable
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mycelos.proxy.egress.url import CanonicalUrl

_PLACEHOLDER: Final = re.compile(r"(?:\{|%(?:25)*7B|\\u007b|&#123;)\s*credential", re.IGNORECASE | re.ASCII)
_DOT_SEGMENT: Final = re.compile(rb"(?:\A|[/\\])[ .]*\.[ .]*(?:[/\\;]|\Z)")
# All of these may stand in a path (RFC 3986, section 3.3); a colon does in the tokens that paths carry.
_PATH_SAFE: Final = ":"


def form_of(injection: Injection) -> str:
    """The injection as `inject_as` writes it."""
    match injection:
        case Bearer():
            return "bearer"
        case Basic(name):
            return f"basic:{name}"
        case Header(name):
            return f"header:{name}"
        case UrlPath():
            return "url_path"


def header_of(injection: Injection) -> bytes | None:
    """The header that will carry the secret, in lower case; None where the path does."""
    match injection:
        case Bearer() | Basic():
            return b"authorization"
        case Header(name):
            return name.lower().encode("ascii")
        case UrlPath():
            return None


def same_form(inject_as: str, injection: Injection) -> bool:
    """Whether the caller's `inject_as` is the binding's form; header names are compared without case."""
    if isinstance(injection, Header):
        kind, _, name = inject_as.partition(":")
        return kind == "header" and name.lower() == injection.name.lower()
    return inject_as == form_of(injection)


def refuse_stray_placeholder(
    text: str, headers: Iterable[tuple[str, str]], body: bytes | None, *, in_path: bool
) -> None:
    """Refuse a placeholder anywhere but in the path, where ``in_path`` says that one belongs.

    ``text`` is the URL as given. A body that streams is not looked at: nothing is put into it.

    Raises:
        Refusal: `injection_refused`.
    """
    allowed = text.partition("?")[0].partition("#")[0].partition("://")[2].partition("/")[2] if in_path else ""
    head = text[: text.find(allowed, text.find("://") + 3)] if allowed else text
    tail = text[len(head) + len(allowed) :]
    places = [head, tail, *(part for header in headers for part in header)]
    if any(map(_PLACEHOLDER.search, places)):
        _refuse("The placeholder stands where no credential is put: it belongs in the path of a url_path binding.")
    if body is not None and _PLACEHOLDER.search(body.decode("utf-8", "replace")):
        _refuse("The placeholder stands in the body, where no credential is put.")


def inject(injection: Injection, secret: bytes, url: CanonicalUrl) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The request target and the headers that carry ``secret``.

    Raises:
        Refusal: `injection_refused`; the secret cannot stand there, or the placeholder is not where it must be.
    """
    if isinstance(injection, UrlPath) != url.has_placeholder:
        _refuse("The path holds the placeholder exactly where the binding puts the credential into the path.")
    try:
        check_injectable(injection, secret)
    except SecretNotInjectableError as error:
        _refuse(f"The stored credential cannot be sent: {error}.")
    match injection:
        case Bearer():
            return url.target.encode("ascii"), [(b"authorization", b"Bearer " + secret)]
        case Basic(name):
            pair = name.encode("ascii") + b":" + secret
            return url.target.encode("ascii"), [(b"authorization", b"Basic " + base64.b64encode(pair))]
        case Header(name):
            return url.target.encode("ascii"), [(name.lower().encode("ascii"), secret)]
        case UrlPath():
            return _put_into_path(url, secret), []


def _put_into_path(url: CanonicalUrl, secret: bytes) -> bytes:
    if sum(segment.count(CREDENTIAL_PLACEHOLDER) for segment in url.segments) != 1:
        _refuse("The path holds the placeholder more than once.")
    escaped = quote(secret, safe=_PATH_SAFE)
    segments = [segment.replace(CREDENTIAL_PLACEHOLDER, escaped) for segment in url.segments]
    # Also for a server that unescapes the slashes first.
    if any(_DOT_SEGMENT.search(unquote_to_bytes(segment)) for segment in segments):
        _refuse("The stored credential would change the path.")
    target = "/" + "/".join(segments) + ("" if url.query is None else f"?{url.query}")
    return target.encode("ascii")


def _refuse(detail: str) -> NoReturn:
    raise Refusal(
        ProblemCode.INJECTION_REFUSED,
        detail,
        "Write {credential} only in the path, and only for a credential that is bound with url_path.",
    )
