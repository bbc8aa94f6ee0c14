"""Checkpoints that are remembered outside of the ledger: by the gateway, the command line, and the proxy itself.

They are what makes a cut tail, a rewritten log or an old copy show, so each lies in another folder than the ledger.
Those in the user's state folder lie outside of the data folder too: a copy that is put back does not bring them along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.head_file import HeadFile, HeadFileError, read_head_file, write_head_file
from mycelos.ledger.verify import RememberedNote

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout
    from mycelos.ledger.verify import Evidence

COMMAND_LINE: Final = "the command line"
GATEWAY: Final = "the gateway"
PROXY_OUTSIDE: Final = "the proxy, outside the data folder"
COMMAND_LINE_OUTSIDE: Final = "the command line, outside the data folder"


@dataclass(frozen=True)
class Outside:
    """The files of one installation in the user's state folder."""

    folder: Path

    @property
    def proxy(self) -> Path:
        """What the running proxy writes, and at its start and stop."""
        return self.folder / "proxy.json"

    @property
    def command_line(self) -> Path:
        """What `mycelos db audit verify` writes."""
        return self.folder / "command-line.json"


@dataclass(frozen=True)
class Remembered:
    """Each keeper's signed note and file, and the keepers whose file is there but cannot be read.

    ``vault_generation`` is the highest that any of them remembers of the vault.
    """

    notes: dict[str, bytes]
    unreadable: tuple[str, ...]
    paths: Mapping[str, Path] = field(default_factory=dict)
    vault_generation: int = 0

    @property
    def evidence(self) -> dict[str, Evidence]:
        """The notes as verification takes them: the gateway's may be what a hijacked gateway wrote."""
        return {keeper: RememberedNote(note, keeper != GATEWAY) for keeper, note in self.notes.items()}


def outside_of(layout: DataLayout, environ: Mapping[str, str], installation: str | None) -> Outside | None:
    """Where ``installation`` is remembered outside of its data folder; None where there is no such place."""
    folder = None if installation is None else layout.heads_outside(environ, installation)
    return None if folder is None else Outside(folder)


def remembered_heads(layout: DataLayout, outside: Outside | None = None) -> Remembered:
    """What every keeper remembers. Read it before the log: all of them only ever remember the past."""
    paths = {COMMAND_LINE: layout.command_line_head, GATEWAY: layout.gateway_head}
    if outside is not None:
        paths |= {PROXY_OUTSIDE: outside.proxy, COMMAND_LINE_OUTSIDE: outside.command_line}
    notes: dict[str, bytes] = {}
    unreadable: list[str] = []
    generation = 0
    for keeper, path in paths.items():
        try:
            found = read_head_file(path)
        except FileNotFoundError:
            continue
        except (OSError, HeadFileError):
            unreadable.append(keeper)
        else:
            notes[keeper] = found.note.encode()
            generation = max(generation, 0 if keeper == GATEWAY else found.vault_generation)
    return Remembered(notes, tuple(unreadable), paths, generation)


def remember(path: Path, note: str, vault_generation: int = 0) -> None:
    """Write the signed ``note`` so that a crash leaves the old one or the new one, mode 0600.

    Raises:
        OSError: the file cannot be written.
    """
    write_head_file(path, HeadFile(note, vault_generation))
