"""Capabilities: what an agent was granted, and whether that covers a tool.

A tool's name is two or more segments joined by dots, a capability one or more; each segment is a lower-case ASCII
letter, then letters, digits, ``_`` or ``-``. Both are checked as segments before they are compared; anything else is
refused and never normalised, so look-alikes, empty segments and patterns have no meaning here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME_LIMIT: Final = 128
"""Bytes of a name at most; names are ASCII, so characters too."""

_SEGMENT: Final = "[a-z][a-z0-9_-]*"
_CAPABILITY: Final = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_TOOL: Final = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})+")


class NameRefusedError(ValueError):
    """A name that is no tool's or capability's, or that clashes with another. The text says which rule it breaks."""


def is_tool_name(text: str) -> bool:
    """Whether ``text`` can name a tool: ``github.read.issues``, not ``github``."""
    return len(text) <= NAME_LIMIT and _TOOL.fullmatch(text) is not None


def is_capability(text: str) -> bool:
    """Whether ``text`` can name a capability: ``github.read`` or ``github``."""
    return len(text) <= NAME_LIMIT and _CAPABILITY.fullmatch(text) is not None


def check_capability(text: str) -> str:
    """``text``, if it is a capability.

    Raises:
        NameRefusedError: it is not.
    """
    if not is_capability(text):
        message = (
            f"a capability is one or more segments of a-z, 0-9, _ and - that begin with a letter, joined by dots, "
            f"{NAME_LIMIT} bytes at most; patterns and capitals are not known"
        )
        raise NameRefusedError(message)
    return text


def grants(capability: str, tool: str) -> bool:
    """Whether ``capability`` covers ``tool``: the same name, or a name below it. A malformed name is never covered."""
    return (
        is_capability(capability) and is_tool_name(tool) and (tool == capability or tool.startswith(capability + "."))
    )


def check_registry(names: Iterable[str]) -> frozenset[str]:
    """The names of a whole registry of tools, each one a leaf.

    Were one name also the prefix of another, granting the one would grant the other unseen.

    Raises:
        NameRefusedError: a malformed or repeated name, or one that is also the prefix of another's.
    """
    known: set[str] = set()
    for name in names:
        if not is_tool_name(name):
            message = (
                f"a tool's name is two or more segments of a-z, 0-9, _ and - that begin with a letter, joined by dots, "
                f"{NAME_LIMIT} bytes at most"
            )
            raise NameRefusedError(message)
        if name in known:
            message = f"two tools are called {name}"
            raise NameRefusedError(message)
        known.add(name)
    for name in sorted(known):
        parts = name.split(".")
        for length in range(1, len(parts)):
            if (prefix := ".".join(parts[:length])) in known:
                message = f"the tool {prefix} cannot stand beside {name}: a name is a tool or a namespace, not both"
                raise NameRefusedError(message)
    return frozenset(known)
