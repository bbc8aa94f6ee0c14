"""The file in which the gateway, the command line and the proxy each remember the ledger's newest checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from mycelos.configuration.plain_file import read_plain_file, replace_plain_file

_SIZE_LIMIT: Final = 4096
"""Bytes of the file at most."""


class HeadFileError(ValueError):
    """What lies there is a file, and not one of these."""


class HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A signed note, and the vault's generation at that time; 0 where the keeper knows none."""

    note: str
    vault_generation: Annotated[int, msgspec.Meta(ge=0)] = 0


def read_head_file(path: Path) -> HeadFile:
    """What is remembered at ``path``.

    Raises:
        FileNotFoundError: nothing is.
        HeadFileError: the file does not say.
        OSError: it is no file, it is too long, or the system refuses.
    """
    try:
        return msgspec.json.decode(read_plain_file(path, _SIZE_LIMIT), type=HeadFile)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise HeadFileError(str(path)) from error


def write_head_file(path: Path, head: HeadFile) -> None:
    """Remember ``head`` at ``path``, mode 0600: a crash leaves the old one or the new one.

    Raises:
        OSError: the file cannot be written; the old one stays.
    """
    replace_plain_file(path, msgspec.json.encode(head) + b"\n")
