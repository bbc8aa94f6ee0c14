"""Attacks on what belongs to a file outside besides its content: mode, owner, times, flags, extended attributes.

Landlock governs none of them. Each is tried with every system call, by path and by every kind of descriptor that can be
had of the file.
"""

# An attack is written as the system call that it tries.

from __future__ import annotations

import ctypes
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

from mycelos.sandbox.attempt import Attack, Targets, call, first_that_works

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_MODES: Final = (os.O_RDONLY, os.O_PATH, os.O_ACCMODE)
"""For reading, for nothing but its place, and for neither reading nor writing."""
_SET_FLAGS: Final = 0x4008_6602
_GET_FLAGS: Final = 0x8008_6601
_NO_DUMP: Final = 0x40
_NAME: Final = b"user.mycelos"
_VALUE: Final = b"1"
_NUMBERS: Final = X86_64_SYSCALLS if os.uname().machine == "x86_64" else AARCH64_SYSCALLS


def _plain(targets: Targets) -> str:
    return f"{targets.outside_directory}/plain"


def _tried(attempts: Iterable[tuple[str, tuple[object, ...]]]) -> Iterable[Callable[[], object]]:
    return (partial(call, name, *arguments) for name, arguments in attempts if name in _NUMBERS)


def _by_path_or_descriptor(
    by_path: Callable[[bytes], Iterable[tuple[str, tuple[object, ...]]]],
    by_descriptor: Callable[[int], Iterable[tuple[str, tuple[object, ...]]]],
) -> Callable[[Targets], None]:
    """Attack in every way; a way is the name of a system call and its arguments."""

    def through(path: str, open_mode: int) -> None:
        descriptor = os.open(path, open_mode)
        try:
            first_that_works(_tried((*by_descriptor(descriptor), *by_path(f"/proc/self/fd/{descriptor}".encode()))))
        finally:
            os.close(descriptor)

    def attempt(targets: Targets) -> None:
        path = _plain(targets)
        first_that_works((*_tried(by_path(path.encode())), *(partial(through, path, mode) for mode in _OPEN_MODES)))

    return attempt


def _modes(path: bytes) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "chmod", (path, 0o666)
    yield "fchmodat", (_AT_FDCWD, path, 0o666)
    yield "fchmodat2", (_AT_FDCWD, path, 0o666, 0)


def _modes_by_descriptor(descriptor: int) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "fchmod", (descriptor, 0o666)
    yield "fchmodat2", (descriptor, b"", 0o666, _AT_EMPTY_PATH)


def _owners(path: bytes) -> Iterable[tuple[str, tuple[object, ...]]]:
    # No change of either: whether the call is let through is what counts.
    yield "chown", (path, -1, -1)
    yield "lchown", (path, -1, -1)
    yield "fchownat", (_AT_FDCWD, path, -1, -1, 0)


def _owners_by_descriptor(descriptor: int) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "fchown", (descriptor, -1, -1)
    yield "fchownat", (descriptor, b"", -1, -1, _AT_EMPTY_PATH)


def _times(path: bytes) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "utime", (path, None)
    yield "utimes", (path, None)
    yield "futimesat", (_AT_FDCWD, path, None)
    yield "utimensat", (_AT_FDCWD, path, None, 0)


def _times_by_descriptor(descriptor: int) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "utimensat", (descriptor, None, None, 0)
    yield "futimesat", (descriptor, None, None)


def _extended(path: bytes) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "setxattr", (path, _NAME, _VALUE, len(_VALUE), 0)
    yield "lsetxattr", (path, _NAME, _VALUE, len(_VALUE), 0)
    yield "removexattr", (path, _NAME)
    yield "lremovexattr", (path, _NAME)


def _extended_by_descriptor(descriptor: int) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "fsetxattr", (descriptor, _NAME, _VALUE, len(_VALUE), 0)
    yield "fremovexattr", (descriptor, _NAME)


def _listed(path: bytes) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "listxattr", (path, None, 0)
    yield "llistxattr", (path, None, 0)


def _listed_by_descriptor(descriptor: int) -> Iterable[tuple[str, tuple[object, ...]]]:
    yield "flistxattr", (descriptor, None, 0)


def _flags(targets: Targets) -> None:
    first_that_works(partial(_flag, _plain(targets), mode) for mode in _OPEN_MODES)


def _flag(path: str, open_mode: int) -> None:
    descriptor = os.open(path, open_mode)
    try:
        flags = ctypes.c_long()
        call("ioctl", descriptor, _GET_FLAGS, ctypes.byref(flags))
        flags.value ^= _NO_DUMP
        call("ioctl", descriptor, _SET_FLAGS, ctypes.byref(flags))
    except OSError as error:
        # A file system without flags says so to whoever gets that far.
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def _open_for_neither(targets: Targets) -> None:
    os.close(os.open(_plain(targets), os.O_ACCMODE))


ATTRIBUTE_ATTACKS: Final = (
    Attack("mode-outside", "changes the mode of a file outside", _by_path_or_descriptor(_modes, _modes_by_descriptor)),
    Attack(
        "owner-outside", "changes the owner of a file outside", _by_path_or_descriptor(_owners, _owners_by_descriptor)
    ),
    Attack(
        "times-outside", "changes the times of a file outside", _by_path_or_descriptor(_times, _times_by_descriptor)
    ),
    Attack(
        "attribute-outside",
        "sets an attribute of a file outside",
        _by_path_or_descriptor(_extended, _extended_by_descriptor),
    ),
    Attack(
        "list-attributes-outside",
        "learns the attributes of a file outside",
        _by_path_or_descriptor(_listed, _listed_by_descriptor),
    ),
    Attack("flags-outside", "changes the flags of a file outside", _flags),
    Attack("open-for-neither", "opens a file outside for neither reading nor writing", _open_for_neither),
)
