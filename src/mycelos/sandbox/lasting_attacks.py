"""Attacks whose effect outlasts the process: on files that others use, and on what it shares with others."""

# ruff: noqa: PTH101
# An attack is written as the system call that it tries.

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from mycelos.sandbox.attempt import Attack, Targets, call, first_that_works, reaches, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MARKED: Final = 0o4755
_AT_FDCWD: Final = -100
_PEEK_OFFSET: Final = 42
_LOCK_FILTER: Final = 44
_ATTACH_BPF: Final = 50
_OPTIONS_THAT_LAST: Final = (
    socket.SO_LINGER,
    socket.SO_RCVBUF,
    socket.SO_RCVTIMEO,
    26,  # SO_ATTACH_FILTER
    _PEEK_OFFSET,
    _LOCK_FILTER,
    _ATTACH_BPF,
)


@contextlib.contextmanager
def _file_of_its_own(name: str) -> Iterator[int]:
    descriptor = os.open(name, os.O_CREAT | os.O_RDONLY, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        os.unlink(name)  # noqa: PTH108 - by the call, as above


def _made_with_mark() -> None:
    descriptor = os.open("marked-at-birth", os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MARKED)
    try:
        _require_mark(descriptor)
    finally:
        os.close(descriptor)
        os.unlink("marked-at-birth")  # noqa: PTH108 - by the call, as above


def _marked_by(mark: Callable[[str, int], object]) -> Callable[[], None]:
    def attempt() -> None:
        with _file_of_its_own("marked") as descriptor:
            mark("marked", descriptor)
            _require_mark(descriptor)

    return attempt


def _require_mark(descriptor: int) -> None:
    if not os.fstat(descriptor).st_mode & stat.S_ISUID:
        refused(errno.EPERM)


def _mark(_: Targets) -> None:
    first_that_works(
        (
            _made_with_mark,
            _marked_by(lambda name, _: os.chmod(name, _MARKED)),
            _marked_by(lambda _, descriptor: os.fchmod(descriptor, _MARKED)),
            _marked_by(lambda name, _: call("fchmodat", _AT_FDCWD, name.encode(), _MARKED)),
            _marked_by(lambda name, _: call("fchmodat2", _AT_FDCWD, name.encode(), _MARKED, 0)),
        )
    )


def _lease(_: Targets) -> None:
    with _file_of_its_own("leased"):
        descriptor = os.open("leased", os.O_RDONLY)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        finally:
            os.close(descriptor)


def _signal_on_input(_: Targets) -> None:
    reading, writing = os.pipe()
    try:
        first_that_works(
            (
                lambda: fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid()),
                lambda: fcntl.fcntl(reading, fcntl.F_SETSIG, 0),
                lambda: fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC),
            )
        )
    finally:
        os.close(reading)
        os.close(writing)


def _socket_option(targets: Targets) -> None:
    # Without a socket: that the descriptor is looked at shows that the option was let through.
    attempts = [
        reaches("setsockopt", -1, socket.SOL_SOCKET, option, None, 0, reached=(errno.EBADF,))
        for option in _OPTIONS_THAT_LAST
    ]
    first_that_works(partial(attempt, targets) for attempt in attempts)


LASTING_ATTACKS: Final = (
    Attack("set-user-id", "makes a program that runs as its user for everybody, outside of the walls", _mark),
    Attack("lease", "takes a lease on a file, which makes others wait for it", _lease),
    Attack("signal-on-input", "has a signal sent to a process of its choice", _signal_on_input),
    Attack("socket-option", "sets a filter or a limit on a socket that others use after it", _socket_option),
)
