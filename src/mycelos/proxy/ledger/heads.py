"""Heads of the ledger that are remembered outside of it: by the gateway, and by the command line.

They are what makes a cut tail or a rewritten log show, so each lies in another folder than the ledger.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from mycelos.ledger.chain import Head

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout

COMMAND_LINE: Final = "the command line"
GATEWAY: Final = "the gateway"
_SIZE_LIMIT: Final = 4096


class _HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: Annotated[int, msgspec.Meta(ge=0)]
    leaf_hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Remembered:
    """Each keeper's head, and the keepers whose file is there but cannot be read as a head."""

    heads: dict[str, Head]
    unreadable: tuple[str, ...]


def remembered_heads(layout: DataLayout) -> Remembered:
    """What the gateway and the command line remember. Read it before the log: both only ever remember the past."""
    heads: dict[str, Head] = {}
    unreadable: list[str] = []
    for keeper, path in ((COMMAND_LINE, layout.command_line_head), (GATEWAY, layout.gateway_head)):
        try:
            head = _read(path)
        except (OSError, msgspec.DecodeError):
            unreadable.append(keeper)
        else:
            if head is not None:
                heads[keeper] = head
    return Remembered(heads, tuple(unreadable))


def remember(path: Path, head: Head) -> None:
    """Write ``head`` so that a crash leaves the old one or the new one, mode 0600.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = msgspec.json.encode(_HeadFile(seq=head.seq, leaf_hash=head.leaf_hash)) + b"\n"
    # mkstemp makes the file with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> Head | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(_SIZE_LIMIT)
    except FileNotFoundError:
        return None
    found = msgspec.json.decode(data, type=_HeadFile)
    return Head(found.seq, found.leaf_hash)
