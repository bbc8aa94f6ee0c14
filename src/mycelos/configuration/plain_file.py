"""A small file in a folder that somebody else may write: what lies there need not be a file at all.

A FIFO would keep its reader waiting for good, a link would lead elsewhere, a device has no end.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

NOT_PLAIN: Final = frozenset({errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EFBIG})
"""What `read_plain_file` raises where something else lies in the place of such a file."""

_SUFFIXES: Final = ("", "-journal", "-wal", "-shm")


def open_plain_file(path: Path, *, follow: bool = False) -> BinaryIO:
    """The regular file at ``path``, open for reading; never waits. With ``follow`` a link to one will do.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is something else, or the system refuses.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_plain_file(path: Path, limit: int) -> bytes:
    """The content of the regular file at ``path``, at most ``limit`` bytes; never waits.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is something else, a link among it, it is longer, or the system refuses.
    """
    with open_plain_file(path) as stream:
        return read_at_most(stream, limit, path)


def read_at_most(stream: BinaryIO, limit: int, path: Path) -> bytes:
    """What ``stream``, open at ``path``, has to its end.

    Raises:
        OSError: it has more than ``limit`` bytes, or the system refuses.
    """
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit} bytes", str(path))
    return data


def demand_plain_database(database: Path) -> None:
    """Whatever SQLite would open for ``database`` is a regular file, or is not there: it waits for a FIFO.

    A link is none: beside its target lie other files than beside it.

    Raises:
        OSError: one is something else; ``filename`` is its path.
    """
    for suffix in _SUFFIXES:
        path = database.with_name(database.name + suffix)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def replace_plain_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file at ``path``, mode 0600: a crash leaves the old one or the new one.

    Raises:
        OSError: the system refuses; the old one stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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


@contextmanager
def new_plain_file(path: Path) -> Iterator[BinaryIO]:
    """What is written in the block becomes the file at ``path``, mode 0600, where the block ends well.

    Otherwise nothing of it is left; a crash leaves at most a file of another name beside it.

    Raises:
        FileExistsError: something is there, which stays as it is.
        OSError: the system refuses.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _name(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _name(draft: Path, path: Path) -> None:
    # Whoever makes it has it. A link would never replace either, but not every file system has them.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        draft.replace(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
