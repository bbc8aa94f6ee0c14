"""Binding v1: where, how and how often one credential may be used. Every field is required.

The form is a contract (stored with each credential and part of its associated data); an unknown or
absent field is refused. What a binding means is decided in `mycelos.proxy.egress.binding_check`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+\Z")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
_QUERY_KEY: Final = re.compile(r"[A-Za-z0-9._~\[\]-]{1,64}\Z")

FORBIDDEN_INJECTION_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "cookie2",
        "expect",
        "forwarded",
        "forwarded-for",
        "forwarded-host",
        "host",
        "http-host",
        "http-url",
        "http2-settings",
        "if-range",
        "keep-alive",
        "proxy",
        "range",
        "request-range",
        "request-uri",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded",
        "x-host",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-method",
        "x-method-override",
        "x-real-ip",
    }
)
"""Header names that change framing, routing or the method: no secret is injected into one."""
FORBIDDEN_INJECTION_PREFIXES: Final = ("mycelos-", "proxy-", "x-envoy-", "x-forwarded-", "x-original-", "x-rewrite-")


class Method(StrEnum):
    """The HTTP methods that a binding can name."""

    DELETE = "DELETE"
    GET = "GET"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"
    PATCH = "PATCH"
    POST = "POST"
    PUT = "PUT"


class Bearer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag="bearer"):
    """``Authorization: Bearer SECRET``."""


class Basic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag="basic"):
    """``Authorization: Basic base64(name:SECRET)``."""

    name: str


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag="header"):
    """``name: SECRET``."""

    name: str


class UrlPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", tag="url_path"):
    """``{credential}`` in the path is replaced by the percent-encoded secret."""


Injection = Bearer | Basic | Header | UrlPath


class ResponseRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken out of the answer's headers."""

    set_cookie: Literal["drop", "keep"]
    location_query: Literal["redact", "keep"]


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits for a day (UTC); bytes are those sent upstream."""

    requests_per_day: Annotated[int, msgspec.Meta(ge=1)]
    bytes_per_day: Annotated[int, msgspec.Meta(ge=1)]


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place where a credential may go. ``v`` is 1."""

    v: Literal[1]
    scheme: Literal["https", "http"]
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    methods: tuple[Method, ...]
    path: tuple[str, ...]
    query: Literal["none", "any"] | tuple[str, ...]
    inject: Injection
    response: ResponseRule
    confirm: bool
    quota: Quota | None

    def __post_init__(self) -> None:
        """Refuse what the types alone let through; each message names the field."""
        if not _HOST.match(self.host):
            _fail("host", "an exact lower-case host name or address, no wildcard, port or trailing dot")
        if not self.methods or len(set(self.methods)) != len(self.methods):
            _fail("methods", "at least one method, each once")
        for segment in self.path:
            # In a url_path binding the secret's own segment is written as the placeholder.
            plain = segment.replace("{credential}", "x") if isinstance(self.inject, UrlPath) else segment
            if segment in {".", ".."} or not _SEGMENT.match(plain):
                _fail("path", "whole segments without slash, backslash, percent sign or dot segments")
        if not isinstance(self.query, str):
            if len(set(self.query)) != len(self.query) or not all(map(_QUERY_KEY.match, self.query)):
                _fail("query", "'none', 'any' or distinct query keys")
        if isinstance(self.inject, Header):
            if not _HEADER_NAME.match(self.inject.name):
                _fail("inject.name", "an HTTP header name")
            # Servers that pass headers on as variables make one name of a hyphen and an underscore.
            if _is_forbidden(re.sub(r"[^a-z0-9]", "-", self.inject.name.lower())):
                _fail("inject.name", "a header that changes neither framing nor routing")
        if isinstance(self.inject, Basic) and not re.fullmatch(r"[\x21-\x39\x3b-\x7e]{1,128}", self.inject.name):
            _fail("inject.name", "a user name of printable ASCII without a colon")


def _is_forbidden(name: str) -> bool:
    return name in FORBIDDEN_INJECTION_HEADERS or name.startswith(FORBIDDEN_INJECTION_PREFIXES)


def _fail(field: str, expected: str) -> None:
    message = f"binding field {field}: expected {expected}"
    raise ValueError(message)
