"""Where this Python, its libraries and Mycelos lie: what a confined process must be able to read."""

# ruff: noqa: PTH110, PTH114, PTH115, PTH118, PTH120
# Paths are compared and bound as the text that they are.

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import mycelos

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIBRARY_FOLDERS: Final = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32")
_LIBRARY_FILES: Final = ("/etc/ld.so.cache",)
_PROGRAM_FOLDERS: Final = ("/bin", "/sbin", "/usr")
_PROGRAM_FILES: Final = ("/etc/alternatives",)
_SYSTEM_PREFIXES: Final = ("/", "/usr")


@dataclass(frozen=True)
class Installation:
    """Paths of this machine. ``libraries`` are what Python needs, ``programs`` what ordinary programs add.

    ``links`` maps a path that is a symbolic link (such as /lib64) to its target's text.
    """

    executable: str
    libraries: tuple[str, ...]
    programs: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    def readable(self, *, with_programs: bool) -> tuple[str, ...]:
        """Every path that a process of either kind may read."""
        return _without_nested(self.libraries + (self.programs if with_programs else ()))


def find_installation() -> Installation:
    """Look at the running interpreter and the file system."""
    package = os.path.dirname(mycelos.__file__)
    libraries = [package, *_interpreter_paths(), *_LIBRARY_FOLDERS, *_LIBRARY_FILES]
    programs = [*_PROGRAM_FOLDERS, *_PROGRAM_FILES]
    links = tuple((path, os.readlink(path)) for path in (*_LIBRARY_FOLDERS, *_PROGRAM_FOLDERS) if os.path.islink(path))
    linked = {path for path, _ in links}
    return Installation(
        executable=sys.executable,
        libraries=_without_nested(path for path in libraries if path not in linked and os.path.exists(path)),
        programs=_without_nested(path for path in programs if path not in linked and os.path.exists(path)),
        links=links,
    )


def _interpreter_paths() -> list[str]:
    """The folders of the interpreter and of its virtual environment, and each link on the way to the binary."""
    paths: list[str] = []
    for prefix in (sys.prefix, sys.base_prefix):
        if prefix not in _SYSTEM_PREFIXES:
            # A prefix such as /usr/local holds other people's programs too; only its libraries are ours.
            paths += [prefix] if prefix == sys.prefix != sys.base_prefix else [f"{prefix}/lib", f"{prefix}/lib64"]
    hop = sys.executable
    while True:
        paths.append(hop)
        if not os.path.islink(hop):
            return paths
        hop = os.path.normpath(os.path.join(os.path.dirname(hop), os.readlink(hop)))


def _without_nested(paths: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{other}/") for other in kept):
            kept.append(path)
    return tuple(kept)
