"""The archive inside: an uncompressed tar of plain files in one canonical form, written and read without a choice.

A header is the one that `header` makes for this name and size, byte for byte, or it is refused. So there is no link, no
folder, no path, no sparse file and no second spelling to decide about (POSIX.1-1988, ustar).
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup import manifest as manifests
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.manifest import MEMBERS, Manifest, Member

BLOCK: Final = 512
CHUNK: Final = 1024 * 1024
SIZE_LIMIT: Final = 8**11 - 1
"""Bytes of one member, at most: what eleven octal digits hold."""

_END: Final = bytes(2 * BLOCK)
_SIZE: Final = slice(124, 135)


def header(name: str, size: int) -> bytes:
    """The one header of a file of this name and size.

    Raises:
        BackupError: it is larger than a member may be.
    """
    if size > SIZE_LIMIT:
        raise BackupError(
            detail=f"{name} has {size} bytes; a backup holds files of up to {SIZE_LIMIT} bytes.",
            next_step="Copy the stopped data folder by other means.",
        )
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, 0
    return entry.tobuf(tarfile.USTAR_FORMAT)


def write_archive(manifest: bytes, files: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """The archive's bytes, piece by piece: the manifest, then each file under its name."""
    yield header(manifests.NAME, len(manifest))
    yield manifest + _padding(len(manifest))
    for name, path in files:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            yield header(name, size)
            left = size
            while left:
                piece = stream.read(min(CHUNK, left))
                if not piece:
                    raise BackupError(detail=f"{name} became shorter while it was read.", next_step="Try again.")
                left -= len(piece)
                yield piece
            yield _padding(size)
    yield _END


def read_archive(stream: BinaryIO, layout: DataLayout) -> Manifest:
    """Write each member to its place below ``layout``, mode 0600, checked against the manifest.

    Raises:
        BackupError: anything that `write_archive` would not have written.
        OSError: the disk refuses.
    """
    size = _read_size(stream, manifests.NAME, manifests.SIZE_LIMIT)
    manifest = manifests.decode(_exactly(stream, size))
    _skip_padding(stream, size)
    for member in manifest.members:
        if _read_size(stream, member.name, SIZE_LIMIT) != member.size:
            raise _foreign(what=f"{member.name} has another size than the manifest says")
        _extract(stream, member, MEMBERS[member.name](layout))
        _skip_padding(stream, member.size)
    if stream.read(len(_END) + 1) != _END:
        raise _foreign(what="it does not end after the members that the manifest names")
    return manifest


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_size(stream: BinaryIO, name: str, limit: int) -> int:
    block = _exactly(stream, BLOCK)
    digits = block[_SIZE]
    size = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else -1
    if not 0 <= size <= limit or block != header(name, size):
        raise _foreign(what=f"where the plain file {name} belongs, something else stands")
    return size


def _extract(stream: BinaryIO, member: Member, place: Path) -> None:
    _make_folder(place.parent)
    sha256 = hashlib.sha256()
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        left = member.size
        while left:
            piece = _exactly(stream, min(CHUNK, left))
            sha256.update(piece)
            target.write(piece)
            left -= len(piece)
    if sha256.hexdigest() != member.sha256:
        raise _foreign(what=f"{member.name} is not what the manifest says")


def _make_folder(folder: Path) -> None:
    # Path.mkdir gives its mode to the last folder alone.
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise _foreign(what="it ends too early")
    return data


def _skip_padding(stream: BinaryIO, size: int) -> None:
    padding = _padding(size)
    if _exactly(stream, len(padding)) != padding:
        raise _foreign(what="there is something between its members")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _foreign(*, what: str) -> BackupError:
    return BackupError(
        detail=f"This is not a backup that Mycelos made: {what}.", next_step="Use another copy of the backup."
    )
