"""Looks for canaries in every spelling of `mycelos.wire.secret_forms`: in bytes, folders and processes' memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ahocorasick_rs import BytesAhoCorasick

from mycelos.wire.secret_forms import FORMS

_PIECE = 16 * 1024 * 1024
_READABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+ *(.*)")
_UNREADABLE = ("[vvar", "[vsyscall]")


@dataclass(frozen=True, order=True)
class Found:
    """One canary, where it stands, and the family of the spelling."""

    canary: str
    place: str
    form: str


@dataclass
class Search:
    """``secrets`` are the canaries by name. ``bytes_seen`` says how much was looked through."""

    secrets: dict[str, str]
    found: set[Found] = field(default_factory=set)
    bytes_seen: int = 0

    def __post_init__(self) -> None:
        self._prepare()

    def add(self, name: str, secret: str) -> None:
        """One more canary, from now on."""
        self.secrets[name] = secret
        self._prepare()

    def _prepare(self) -> None:
        self._kinds: dict[bytes, tuple[str, str]] = {}
        for name, secret in self.secrets.items():
            raw = secret.encode()
            for form, spell in FORMS.items():
                for spelled in spell(raw):
                    self._kinds.setdefault(spelled, (name, form))
            # How the interpreter keeps a text that holds an emoji.
            self._kinds.setdefault(secret.encode("utf-32-le"), (name, "utf-32"))
        self._spellings = list(self._kinds)
        self._longest = max(map(len, self._spellings))
        self._matcher = BytesAhoCorasick(self._spellings)

    def within(self, data: bytes, place: str) -> None:
        """Look through ``data``."""
        self.bytes_seen += len(data)
        for number, _, _ in self._matcher.find_matches_as_indexes(data):
            name, form = self._kinds[self._spellings[number]]
            self.found.add(Found(name, place, form))

    def below(self, folder: Path) -> None:
        """Look through every file below ``folder``, and its name."""
        for path in sorted(folder.rglob("*")):
            self.within(os.fsencode(path), f"name of {path}")
            if path.is_file():
                with suppress(FileNotFoundError):
                    self.within(path.read_bytes(), str(path.relative_to(folder)))

    def memory(self, pid: int, process: str) -> int:
        """Look through all that ``pid`` can read of its own memory; how many bytes that was.

        Raises:
            PermissionError: root, with all its powers, is needed.
        """
        seen = 0
        for data in _memory(pid):
            seen += len(data)
            self.within(data, f"memory of the {process}")
        return seen

    def places(self, *names: str) -> dict[str, list[str]]:
        """Where each of these canaries was found, with its spelling."""
        return {
            name: sorted({f"{found.place} ({found.form})" for found in self.found if found.canary == name})
            for name in names
        }


def _memory(pid: int) -> Iterator[bytes]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps.splitlines():
            match = _READABLE.match(line)
            if match is None or match[3].startswith(_UNREADABLE):
                continue
            position, end = int(match[1], 16), int(match[2], 16)
            before = b""
            while position < end:
                try:
                    piece = os.pread(memory.fileno(), min(_PIECE, end - position), position)
                except OSError as error:
                    if isinstance(error, PermissionError):
                        raise
                    # A mapping that ended meanwhile, or a file's that goes beyond the file.
                    break
                if not piece:
                    break
                position += len(piece)
                # A canary may reach over the border of two pieces.
                yield before + piece
                before = piece[-4096:]


def descendants(pid: int) -> list[int]:
    """Every process below ``pid``."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError, ValueError):
                status = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(status.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
