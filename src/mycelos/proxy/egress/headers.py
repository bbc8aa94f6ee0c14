"""Which headers go out and which come back.

With a credential, the caller's headers are an allow-list: no cookie, key or token of the caller's rides along, so
that nobody's traffic lands in somebody else's account. Without one, what frames, routes or signs in is taken out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

Headers = list[tuple[bytes, bytes]]

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
MAXIMUM_HEADERS: Final = 64
MAXIMUM_VALUE: Final = 8192

WITH_CREDENTIAL: Final = frozenset(
    {
        b"accept",
        b"accept-language",
        b"anthropic-beta",
        b"anthropic-version",
        b"content-language",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-unmodified-since",
        b"last-event-id",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"notion-version",
        b"openai-beta",
        b"prefer",
        b"user-agent",
        b"x-github-api-version",
    }
)
"""What a caller may say beside an injected credential."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, and their like: for one connection, never passed on."""

_NEVER_SENT: Final = HOP_BY_HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-length",
    b"cookie",
    b"cookie2",
    b"expect",
    b"forwarded",
    b"host",
    b"if-range",
    b"range",
    b"via",
    b"x-api-key",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-url",
    b"x-real-ip",
    b"x-rewrite-url",
}
_NEVER_RETURNED: Final = HOP_BY_HOP | {
    b"alt-svc",
    b"clear-site-data",
    b"content-encoding",
    b"content-length",
    b"set-cookie2",
}
_OWN_PREFIX: Final = b"mycelos-"
_LOCATIONS: Final = frozenset({b"location", b"content-location", b"refresh", b"link"})


def outgoing(given: Sequence[tuple[bytes, bytes]], *, with_credential: bool) -> Headers:
    """The caller's headers that go upstream, names in lower case.

    Raises:
        Refusal: `invalid_request`; a name or value that no header can have, or too many of them.
    """
    if len(given) > MAXIMUM_HEADERS:
        _refuse(f"at most {MAXIMUM_HEADERS} headers")
    kept: Headers = []
    dropped = _named_by_connection(given)
    for name, value in given:
        if not _NAME.match(name) or not _VALUE.match(value) or len(value) > MAXIMUM_VALUE:
            _refuse("header names of letters, digits and hyphens, and values without control characters")
        lower = name.lower()
        if lower in _NEVER_SENT or lower in dropped or lower.startswith(_OWN_PREFIX):
            continue
        if not with_credential or lower in WITH_CREDENTIAL:
            kept.append((lower, value.strip(b" \t")))
    if not any(name == b"user-agent" for name, _ in kept):
        kept.append((b"user-agent", b"mycelos"))
    # An encoded answer could hide a secret from the scrubber.
    kept.append((b"accept-encoding", b"identity"))
    return kept


def returned(
    given: Iterable[tuple[bytes, bytes]],
    *,
    set_cookie: Literal["drop", "keep"],
    location_query: Literal["redact", "keep"],
) -> Headers:
    """The upstream's headers that go back, before scrubbing. Framing is written anew by whoever answers."""
    headers = [(name.lower(), value) for name, value in given]
    dropped = _named_by_connection(headers)
    kept: Headers = []
    for name, value in headers:
        if name in _NEVER_RETURNED or name in dropped or name.startswith(_OWN_PREFIX):
            continue
        if name == b"set-cookie" and set_cookie == "drop":
            continue
        if name in _LOCATIONS and location_query == "redact":
            kept.append((name, redact_query(value)))
        else:
            kept.append((name, value))
    return kept


def redact_query(value: bytes) -> bytes:
    """A Location or Link without the queries and fragments of its URLs: they may hold codes and signatures."""
    return re.sub(rb"[?#][^>\s,;]*", b"", value)


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    return frozenset(
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    )


def _refuse(expected: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, f"Expected {expected}, in headers.", "Correct the headers.")
