"""The witness's file: checkpoints one after the other, each followed by an empty line, read from the end.

A checkpoint is a text, an empty line and signature lines. A write that a crash cut short is closed by a line that no
checkpoint can hold, and is passed over from then on; the file is never shortened, so it may be append-only (chattr +a).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.ledger.checkpoint import CheckpointError
from mycelos.ledger.signed_note import NOTE_LIMIT, NoteError
from mycelos.proxy.witness.log import read_note

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: Final = b"\n\n"
_SIGNATURE: Final = "— ".encode()
TORN: Final = b"\n(a write ended here)\n\n"
"""What closes a record that a crash cut short."""
_TAIL: Final = 4 * NOTE_LIMIT
"""Bytes that are read from the end, at most."""
_STEP: Final = 8 * 1024
_MODE: Final = 0o600


class DamagedFileError(ValueError):
    """The file's end is not what was written there. The text says what is wrong."""


class ShortenedFileError(ValueError):
    """The file is gone, or shorter than it was. The text says which."""


def append(path: Path, note: str, *, length: int = 0) -> int:
    """Put ``note`` at the end of the file; on disk when it returns. How many bytes the file has then.

    Args:
        path: the file.
        note: what is put there.
        length: bytes that it has at least. Where that is 0 it may be a new file, and is made with mode 0600.

    Raises:
        OSError: it is no regular file, or the system refuses.
        ShortenedFileError: it has fewer bytes than ``length``, or is gone. Nothing was written.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        with _regular(path, flags if length else flags | os.O_CREAT) as descriptor:
            size = os.fstat(descriptor).st_size
            if size < length:
                message = f"{path} was shortened: it has {size} bytes and had {length}"
                raise ShortenedFileError(message)
            is_whole = size == 0 or os.pread(descriptor, len(_END), max(0, size - len(_END))) == _END
            data = (b"" if is_whole else TORN) + note.encode() + b"\n"
            grown = size + len(data)
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
    except FileNotFoundError:
        if not length:
            raise
        message = f"{path} is gone"
        raise ShortenedFileError(message) from None
    return grown


def remembered(path: Path) -> list[bytes]:
    """Checkpoints in the file, not yet believed: the newest first, then ever fewer, down to the first of the file.

    Whoever rewrites the ledger and goes on appending moves the newest one only: of what was appended before, one is at
    most about twice as far from the end as the first of the new ones. A file of any length costs about twenty reads.

    Raises:
        OSError: it is no regular file, or the system refuses.
        DamagedFileError: something else than a checkpoint stands at its end.
    """
    try:
        with _regular(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY) as descriptor:
            size = os.fstat(descriptor).st_size
            start = max(0, size - _TAIL)
            blocks = _blocks(descriptor, start, size)
            recent = [_newest_of(path, list(blocks), has_more=start > 0), *_doubling(_notes(blocks))]
            far = [note for end in _steps_back(size) for note in _notes(_blocks(descriptor, end - _STEP, end))[:1]]
            first = _notes(_blocks(descriptor, 0, min(_STEP, size)))[-1:]
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(note for note in (*recent, *far, *first) if note is not None))


def _doubling(notes: list[bytes]) -> list[bytes]:
    """The second, the third, the fifth, the ninth one and so on."""
    return [notes[1 << power] for power in range(len(notes).bit_length()) if 1 << power < len(notes)]


def _steps_back(size: int) -> Iterator[int]:
    back = _TAIL
    while back + _STEP < size:
        yield size - back
        back *= 2


def _notes(blocks: list[bytes]) -> list[bytes]:
    """Whatever in ``blocks`` is a checkpoint, the last one first."""
    found = []
    for text, signed in reversed(list(pairwise(blocks))):
        if signed.startswith(_SIGNATURE) and not text.startswith(_SIGNATURE):
            with suppress(NoteError, CheckpointError):
                note = b"%s\n\n%s\n" % (text, signed)
                read_note(note)
                found.append(note)
    return found


def _blocks(descriptor: int, start: int, end: int) -> list[bytes]:
    """What stands between empty lines, without what may be cut: all before a first signature block, and the end."""
    blocks = _read(descriptor, start, end - start).split(_END)[:-1]
    if start:
        whole = next((at for at, block in enumerate(blocks) if block.startswith(_SIGNATURE)), len(blocks))
        blocks = blocks[whole + 1 :]
    return blocks


def _newest_of(path: Path, blocks: list[bytes], *, has_more: bool) -> bytes | None:
    while blocks:
        signed = blocks.pop()
        if signed.endswith(TORN.strip()):
            # Cut short in its signatures, it has its text before it.
            if signed.startswith(_SIGNATURE) and blocks:
                blocks.pop()
            continue
        if not signed.startswith(_SIGNATURE) and _is_text_alone(signed):
            continue
        note = b"%s\n\n%s\n" % (blocks.pop() if blocks else b"", signed)
        try:
            read_note(note)
        except (NoteError, CheckpointError) as error:
            message = f"{path} holds something else than checkpoints at its end: {error}"
            raise DamagedFileError(message) from None
        return note
    if has_more:
        message = f"{path} holds no checkpoint in its last {_TAIL} bytes"
        raise DamagedFileError(message)
    return None


def _is_text_alone(block: bytes) -> bool:
    """Whether it is the text of a checkpoint whose signatures were never written: cut between the two."""
    return block.count(b"\n") == 2


def _read(descriptor: int, start: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(descriptor, length, start)):
        pieces.append(piece)
        start, length = start + len(piece), length - len(piece)
    return b"".join(pieces)


@contextmanager
def _regular(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, _MODE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)
