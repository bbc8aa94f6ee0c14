"""Which headers go out and which come back.

With a credential, the caller's headers are an allow-list: no cookie, key or token of the caller's rides along, so
that nobody's traffic lands in somebody else's account. Without one, what frames, routes or signs in is taken out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.proxy.egress.credential_names import carries_credential
from mycelos.wire.binding import FORBIDDEN_INJECTION_HEADERS, FORBIDDEN_INJECTION_PREFIXES
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

Headers = list[tuple[bytes, bytes]]

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
MAXIMUM_HEADERS: Final = 64
MAXIMUM_NAME: Final = 64
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

# What no secret is put into, no caller sends either; but a body may be compressed where no secret is near.
_NEVER_SENT: Final = (
    HOP_BY_HOP
    | {name.encode() for name in FORBIDDEN_INJECTION_HEADERS - {"content-encoding"}}
    | {
        b"base-url",
        b"cf-connecting-ip",
        b"client-ip",
        b"front-end-https",
        b"max-forwards",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-proxy-url",
        b"x-url-scheme",
    }
)
_NEVER_SENT_PREFIXES: Final = tuple(prefix.encode() for prefix in FORBIDDEN_INJECTION_PREFIXES)
# A server that passes headers on as variables (CGI, WSGI) makes one name of these.
_SEPARATORS: Final = re.compile(rb"[^a-z0-9]")
_NEVER_RETURNED: Final = HOP_BY_HOP | {
    b"alt-svc",
    b"clear-site-data",
    b"content-encoding",
    b"content-length",
    b"set-cookie2",
    # By these a server in front of the caller would be told to fetch or to serve a file of its own.
    b"x-accel-redirect",
    b"x-sendfile",
}
_OWN_PREFIX: Final = b"mycelos-"
_LOCATIONS: Final = frozenset({b"location", b"content-location", b"refresh", b"link", b"uri"})


_WEB: Final = frozenset({b"accept", b"accept-language"})


def web_only(given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What a caller may say to a host that only `web on` allows: nothing by which data could leave unseen."""
    return [(name, value) for name, value in given if name.lower() in _WEB]


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
        if len(name) > MAXIMUM_NAME or len(value) > MAXIMUM_VALUE:
            _refuse(f"names of at most {MAXIMUM_NAME} and values of at most {MAXIMUM_VALUE} bytes")
        if not _NAME.match(name) or not _VALUE.match(value):
            _refuse("header names of letters, digits and hyphens, and values without control characters")
        lower = name.lower()
        if lower in dropped or _never_sent(lower):
            continue
        if not with_credential or lower in WITH_CREDENTIAL:
            kept.append((lower, value.strip(b" \t")))
    if not any(name == b"user-agent" for name, _ in kept):
        kept.append((b"user-agent", b"mycelos"))
    # An encoded answer could hide a secret from the scrubber.
    kept.append((b"accept-encoding", b"identity"))
    return kept


def _never_sent(lower: bytes) -> bool:
    name = _SEPARATORS.sub(b"-", lower)
    if name in _NEVER_SENT or name.startswith(_NEVER_SENT_PREFIXES):
        return True
    # Of headers every token signs in; none continues a list.
    return name.endswith(b"-token") or carries_credential(name.decode("ascii"))


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
            kept.append((name, redact_query(value, bracketed=name == b"link")))
        else:
            kept.append((name, value))
    return kept


def redact_query(value: bytes, *, bracketed: bool = False) -> bytes:
    """A Location or, ``bracketed``, a Link without the queries and fragments of its URLs: they may hold codes."""
    return re.sub(rb"[?#][^>]*" if bracketed else rb"(?s)[?#].*", b"", value)


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    return frozenset(
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    )


def _refuse(expected: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, f"Expected {expected}, in headers.", "Correct the headers.")
