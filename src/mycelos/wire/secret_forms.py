"""The spellings in which a secret may come back: one table, used by the scrubber and by the searches of the tests.

Exact values only. What an upstream does to a secret beyond these (reversal, encryption, splitting) is not covered.
"""

from __future__ import annotations

import base64
import html
import json
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHORTEST_FORM: Final = 4
"""Bytes. A derived form that is shorter says too little and occurs too often by chance."""


def _raw(secret: bytes) -> list[bytes]:
    return [secret]


def _percent(secret: bytes) -> list[bytes]:
    usual = [quote(secret, safe=""), quote(secret, safe="/"), quote(secret, safe=":@!$&'()*+,;="), quote_plus(secret)]
    every = "".join(f"%{byte:02X}" for byte in secret)
    twice = quote(usual[0], safe="")
    return [text.encode() for upper in (*usual, every, twice) for text in (upper, _lower_escapes(upper))]


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64(secret: bytes) -> list[bytes]:
    """The characters that belong to the secret alone, wherever it begins within a group of three bytes."""
    forms = []
    # Windows encodes text as UTF-16 before it writes base64.
    for before, written in product(range(3), (secret, _utf_16(secret)[0])):
        first = -(-8 * before // 6)
        last = 8 * (before + len(written)) // 6
        standard = base64.b64encode(bytes(before) + written)[first:last]
        forms += [standard, standard.replace(b"+", b"-").replace(b"/", b"_")]
        # A JSON writer may put a backslash before each slash.
        forms.append(standard.replace(b"/", b"\\/"))
    return forms


def _hexadecimal(secret: bytes) -> list[bytes]:
    wide = _utf_16(secret)[0]
    return [secret.hex().encode(), secret.hex().upper().encode(), wide.hex().encode(), wide.hex().upper().encode()]


def _json(secret: bytes) -> list[bytes]:
    text = secret.decode("utf-8", "surrogateescape")
    units = text.encode("utf-16-be", "surrogatepass")
    every = "".join(f"\\u{int.from_bytes(units[i : i + 2], 'big'):04x}" for i in range(0, len(units), 2))
    plain = json.dumps(text)[1:-1]
    verbatim = json.dumps(text, ensure_ascii=False)[1:-1]
    # Writers that guard against HTML escape these four.
    guarded = plain
    for character in "<>&'":
        guarded = guarded.replace(character, f"\\u{ord(character):04x}")
    forms = [
        plain,
        verbatim,
        guarded,
        plain.replace("/", "\\/"),
        every,
        "\\u" + every[2:].upper().replace("\\U", "\\u"),
    ]
    # JSON inside JSON.
    forms.append(json.dumps(plain)[1:-1])
    return [form.encode("utf-8", "surrogateescape") for form in forms]


def _html(secret: bytes) -> list[bytes]:
    text = secret.decode("utf-8", "surrogateescape")
    named = html.escape(text)
    forms = [
        named,
        html.escape(text, quote=False),
        named.replace("&#x27;", "&#39;"),
        named.replace("&#x27;", "&apos;"),
        "".join(f"&#{ord(character)};" for character in text),
        "".join(f"&#x{ord(character):x};" for character in text),
        "".join(f"&#x{ord(character):X};" for character in text),
    ]
    return [form.encode("utf-8", "surrogateescape") for form in forms]


def _python(secret: bytes) -> list[bytes]:
    """As Python's logs and tracebacks quote texts and bytes; which quotes are escaped depends on what stands beside."""
    forms = []
    for quoted in (repr(secret.decode("utf-8", "surrogateescape"))[1:-1], repr(secret)[2:-1]):
        plain = quoted.replace("\\'", "'")
        forms += [quoted, plain, plain.replace("'", "\\'")]
    return [form.encode("utf-8", "surrogateescape") for form in forms]


def _utf_16(secret: bytes) -> list[bytes]:
    text = secret.decode("utf-8", "surrogateescape")
    return [text.encode(encoding, "surrogatepass") for encoding in ("utf-16-le", "utf-16-be")]


FORMS: Final[Mapping[str, Callable[[bytes], list[bytes]]]] = MappingProxyType(
    {
        "raw": _raw,
        "percent": _percent,
        "base64": _base64,
        "hexadecimal": _hexadecimal,
        "json": _json,
        "html": _html,
        "python": _python,
        "utf-16": _utf_16,
    }
)
"""Each family of spellings and how it is made from the secret's bytes."""

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "raw": "as it is",
        "percent": "in a URL: what is usually escaped, every byte, and twice; escapes in either case",
        "base64": "both alphabets, at each alignment, also of the text as UTF-16, and with escaped slashes",
        "hexadecimal": "either case, also of the text as UTF-16",
        "json": "in a JSON text: usual, verbatim, guarded for HTML, every character as `\\u`, and JSON inside JSON",
        "html": "in HTML: usual entities, and every character by its number, decimal and hexadecimal",
        "python": "as Python's logs and tracebacks quote a text or bytes, with either quote escaped or not",
        "utf-16": "either order of bytes",
    }
)
"""What each family is, for people."""


def secret_forms(secret: bytes) -> list[bytes]:
    """Every form of ``secret``, each once; the secret itself whatever its length, derived forms from four bytes on."""
    if not secret:
        message = "an empty secret has no forms"
        raise ValueError(message)
    made = dict.fromkeys(form for make in FORMS.values() for form in make(secret))
    return [form for form in made if form == secret or len(form) >= SHORTEST_FORM]
