"""The one canonical URL: parsed once, strictly, and used by everything that comes after.

A subset of RFC 3986 on which parsers agree. What they read in different ways is refused, not repaired: control
characters, spaces, backslashes, user information, percent signs in the host, names that look like numbers.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import quote, unquote, unquote_to_bytes

import idna

from mycelos.wire.egress import CREDENTIAL_PLACEHOLDER

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAXIMUM_LENGTH: Final = 8192
"""Characters in a URL, at most."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_SCHEME: Final = re.compile(r"(https?)://", re.IGNORECASE | re.ASCII)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff\u2028\u2029\ufeff]")
_BRACKETED: Final = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+)\](?::(?P<port>[1-9][0-9]{0,4}))?\Z", re.ASCII)
_NAMED: Final = re.compile(r"(?P<host>[^:\[\]@%]+)(?::(?P<port>[1-9][0-9]{0,4}))?\Z", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)
# The URL Standard's "ends in a number" check: such a host is an IPv4 address in some parser's eyes.
_NUMBER_LABEL: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z", re.ASCII)
_UPPER_TO_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

_ESCAPE: Final = re.compile(r"%(?P<hex>[0-9A-Fa-f]{2})?", re.ASCII)
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
# Decoded, each of these changes what path the other side sees: dot, slash, backslash.
_REFUSED_ESCAPES: Final = frozenset("./\\")
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})*\Z", re.ASCII)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*\Z", re.ASCII)
_ENCODED_PLACEHOLDER: Final = re.compile(r"%7B(credential)%7D", re.IGNORECASE | re.ASCII)
# Some servers cut away spaces, dots at an end, or all from a semicolon on, before they resolve dots; some decode twice.
_STRUCTURE: Final = re.compile(r"[/\\]|%[0-9A-Fa-f]{2}|\A[ .]*\.[ .]*(?:;|\Z)", re.ASCII)
_DOUBLE_ESCAPE: Final = re.compile(r"%25(?=[0-9A-Fa-f]{2})", re.ASCII)
_ASCII_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class UrlPart(StrEnum):
    """Which part of a URL is at fault."""

    WHOLE = "whole"
    SCHEME = "scheme"
    HOST = "host"
    PORT = "port"
    PATH = "path"
    QUERY = "query"


class UrlError(ValueError):
    """The text is no URL that can be sent. ``part`` says where; the text never quotes what was given."""

    def __init__(self, part: UrlPart, expected: str) -> None:
        super().__init__(f"URL {part.value}: expected {expected}")
        self.part = part


@dataclass(frozen=True)
class CanonicalUrl:
    """A URL after parsing.

    ``host`` is a lower-case name in its ASCII form or an address without brackets; ``address`` is set where the
    host is one. ``segments`` are the path's, as they are sent; `{credential}` may stand in them. ``query`` is
    None where there is none.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    segments: tuple[str, ...]
    query: str | None
    address: IpAddress | None

    @property
    def path(self) -> str:
        """The path as sent, from its first slash."""
        return "/" + "/".join(self.segments)

    @property
    def target(self) -> str:
        """The request target in origin form (RFC 9112, section 3.2.1)."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host header (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def has_placeholder(self) -> bool:
        """Whether a credential is to stand in the path."""
        return CREDENTIAL_PLACEHOLDER in self.path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> CanonicalUrl:
    """Parse ``text``; its fragment, which is never sent, is dropped.

    Raises:
        UrlError: anything that parsers are known to read in different ways, or that cannot be sent.
    """
    if len(text) > MAXIMUM_LENGTH:
        raise UrlError(UrlPart.WHOLE, f"at most {MAXIMUM_LENGTH} characters")
    if _FORBIDDEN.search(text):
        raise UrlError(UrlPart.WHOLE, "no space, control character or backslash")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise UrlError(UrlPart.SCHEME, "http:// or https://")
    scheme_name: Literal["http", "https"] = "https" if len(scheme[1]) == 5 else "http"
    end = next((i for i in range(scheme.end(), len(text)) if text[i] in "/?#"), len(text))
    host, port, address = _parse_authority(text[scheme.end() : end], DEFAULT_PORTS[scheme_name])
    rest = text[end:].partition("#")[0]
    path, question_mark, query = rest.partition("?")
    return CanonicalUrl(
        scheme=scheme_name,
        host=host,
        port=port,
        segments=_parse_path(path),
        query=_parse_query(query) if question_mark else None,
        address=address,
    )


def _parse_authority(text: str, default_port: int) -> tuple[str, int, IpAddress | None]:
    found = _BRACKETED.match(text) or _NAMED.match(text)
    if found is None:
        raise UrlError(UrlPart.HOST, "host or host:port, without user name, percent sign or stray bracket")
    port = int(found["port"] or default_port)
    if port > 65535:
        raise UrlError(UrlPart.PORT, "a number from 1 to 65535")
    if text.startswith("["):
        try:
            v6_address = ipaddress.IPv6Address(found["host"])
        except ValueError:
            raise UrlError(UrlPart.HOST, "an IPv6 address in the brackets") from None
        return _v6_text(v6_address), port, v6_address
    return parse_host(found["host"]), port, _v4_address(found["host"])


def parse_host(text: str) -> str:
    """The canonical form of a host without brackets: a name in ASCII, or a dotted quad.

    Raises:
        UrlError: not a host name (RFC 952, RFC 1123, RFC 5891), or a spelling that some parser reads as a number.
    """
    host = text.translate(_UPPER_TO_LOWER)
    if not host.isascii() or any(label.startswith("xn--") for label in host.split(".")):
        try:
            ascii_host = idna.encode(host, strict=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise UrlError(UrlPart.HOST, "a name that IDNA 2008 allows") from None
        if _in_older_idna(host) not in {ascii_host, None}:
            raise UrlError(UrlPart.HOST, "letters that mean the same name in IDNA 2003 and IDNA 2008, or the xn-- form")
        host = ascii_host
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.match, labels)):
        raise UrlError(UrlPart.HOST, "labels of letters, digits and inner hyphens, joined by single dots")
    if _NUMBER_LABEL.match(labels[-1]) and _v4_address(host) is None:
        raise UrlError(UrlPart.HOST, "an IPv4 address as four decimal numbers without leading zeros, or a name")
    return host


def is_address(host: str) -> bool:
    """Whether a canonical host is an address: no name ends in a number or holds a colon."""
    return ":" in host or _v4_address(host) is not None


def _in_older_idna(host: str) -> str | None:
    """The name as IDNA 2003 has it, where it has one: sharp s, final sigma and joiners lead to another host there."""
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return None


def _v6_text(address: ipaddress.IPv6Address) -> str:
    """Hexadecimal groups, the first longest run of zeros left out, never dotted (URL Standard, IPv6 serialiser).

    What the standard library writes for an address that carries IPv4 changed in Python 3.13.
    """
    groups = [f"{group:x}" for group in struct.unpack("!8H", address.packed)]
    runs = re.finditer(r"(?<![^:])0(?::0)+(?![^:])", text := ":".join(groups))
    longest = max(runs, key=lambda run: len(run[0]), default=None)
    if longest is None:
        return text
    return f"{text[: longest.start()].rstrip(':')}::{text[longest.end() :].lstrip(':')}"


def _v4_address(host: str) -> ipaddress.IPv4Address | None:
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return address if str(address) == host else None


def _parse_path(text: str) -> tuple[str, ...]:
    """One normalisation: escapes of unreserved characters undone, dot segments resolved (RFC 3986, section 6.2.2)."""
    text = quote(_ENCODED_PLACEHOLDER.sub(r"{\1}", text), safe=_ASCII_PRINTABLE, encoding="utf-8")
    placeholders = text.count(CREDENTIAL_PLACEHOLDER)
    text = _ESCAPE.sub(_normalise_escape, text)
    # Asked of the result: undoing escapes can put together what was not there before.
    if _DOUBLE_ESCAPE.search(text):
        raise UrlError(UrlPart.PATH, "no percent sign that is itself escaped before two hexadecimal digits")
    if text.count(CREDENTIAL_PLACEHOLDER) != placeholders or _ENCODED_PLACEHOLDER.search(text):
        raise UrlError(UrlPart.PATH, "the placeholder without escaped letters")
    try:
        # Bytes that are no UTF-8 can be a dot or a slash to a server that decodes them loosely (RFC 3629, section 10).
        unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise UrlError(UrlPart.PATH, "escapes that together are UTF-8") from None
    segments: list[str] = []
    given = text.split("/")[1:] if text else [""]
    for index, segment in enumerate(given):
        if not _SEGMENT.match(segment.replace(CREDENTIAL_PLACEHOLDER, "x")):
            raise UrlError(UrlPart.PATH, "unreserved characters, sub-delimiters or escapes; anything else escaped")
        if segment in {".", ".."}:
            if index == len(given) - 1:
                # The libraries disagree on whether a slash stays.
                raise UrlError(UrlPart.PATH, "no dot segment at the end: a slash behind it, or what it stands for")
            del segments[len(segments) - (segment == "..") :]
            continue
        # Look-alikes are one character to a server that unifies them (NFKC).
        if _STRUCTURE.search(unicodedata.normalize("NFKC", unquote(segment))):
            raise UrlError(UrlPart.PATH, "no dot segment with parameters or spaces, no look-alike of dots or slashes")
        segments.append(segment)
    if len(segments) > 1 and segments[0] == "":
        raise UrlError(UrlPart.PATH, "one slash at the beginning: two begin an authority for some servers")
    return tuple(segments)


def _normalise_escape(found: re.Match[str]) -> str:
    if found["hex"] is None:
        raise UrlError(UrlPart.PATH, "two hexadecimal digits after each percent sign")
    character = chr(int(found["hex"], 16))
    if character in _REFUSED_ESCAPES or character < " " or character == "\x7f":
        raise UrlError(UrlPart.PATH, "no escaped dot, slash, backslash or control character")
    return character if character in _UNRESERVED else f"%{found['hex'].upper()}"


def _parse_query(text: str) -> str:
    query = quote(text, safe=_ASCII_PRINTABLE, encoding="utf-8")
    if not _QUERY.match(query) or "%00" in query:
        raise UrlError(
            UrlPart.QUERY, "unreserved characters, delimiters, brackets or escapes; anything else escaped, no NUL"
        )
    return query
