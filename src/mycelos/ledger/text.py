"""Making text harmless: control, format and invisible characters become visible escapes."""

from __future__ import annotations


def escape(text: str) -> str:
    r"""``text`` with each character that is not printable written as ``\u001b``: on append and again on display.

    Printable is what `str.isprintable` says: no controls (so no terminal escape), no bidirectional or zero-width
    formatting, no line or paragraph separators, no half surrogate pairs, no unassigned characters.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _written(ord(character)) for character in text)


def shorten(text: str, limit: int) -> str:
    """``text``, or its first characters and an ellipsis: ``limit`` characters at most."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _written(number: int) -> str:
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
