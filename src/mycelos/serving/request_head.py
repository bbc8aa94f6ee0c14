"""What a request's head must be before an application sees it (RFC 9110, RFC 9112): it can be read in one way only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_METHODS: Final = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"})
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_TARGET: Final = re.compile(rb"/[!-~]*\Z")
_NOT_IN_TARGET: Final = re.compile(rb"[#\\]")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")


class HeadError(Exception):
    """The head is none that is served. The text is a rule of ours."""


def check_head(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Look at a head's parts; header names are in lower case.

    Raises:
        HeadError: a part is missing, doubled or of another form.
    """
    fields: dict[bytes, list[bytes]] = {b"content-length": [], b"host": [], b"transfer-encoding": []}
    for name, value in headers:
        if name in fields:
            fields[name].append(value)
    hosts, lengths, codings = fields[b"host"], fields[b"content-length"], fields[b"transfer-encoding"]
    demand(version in _VERSIONS, "HTTP/1.1 or 1.0")
    demand(method in _METHODS, "a method of RFC 9110 or RFC 5789, and no CONNECT")
    demand(len(hosts) == 1 and _HOST.match(hosts[0]) is not None, "Host once, a name or an address")
    demand(_TARGET.match(target) is not None and _NOT_IN_TARGET.search(target) is None, "a target in origin form")
    demand(len(lengths) + len(codings) <= 1, "one length, or one coding")
    demand(all(_LENGTH.match(length) for length in lengths), "a length in digits")
    demand(not codings or (codings[0].lower() == b"chunked" and version == "1.1"), "chunks, in HTTP/1.1, or none")


def demand(condition: bool, rule: str) -> None:
    """Refuse where ``condition`` does not hold.

    Raises:
        HeadError: with the rule.
    """
    if not condition:
        raise HeadError(rule)
