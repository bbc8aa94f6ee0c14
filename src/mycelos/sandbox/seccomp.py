"""Seccomp filters: an allow-list for each kind of process, compiled to BPF.

A call of another architecture or of the x32 ABI kills the process: its numbers mean other calls. A number that is
newer than the tables answers ENOSYS, so that the C library falls back. Every other call that the list does not
hold answers EPERM. `seccompy` compiles; the program that it makes begins after our own three checks.
Layout of the records: https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import seccompy
from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

from mycelos.sandbox import call_arguments
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.system_calls import ATTRIBUTES, COMMON, EXTENDED_ATTRIBUTES, PROGRAMS, SCHEDULING, SERVING

if TYPE_CHECKING:
    from collections.abc import Iterable

CLONE_VM: Final = 0x0000_0100
CLONE_THREAD: Final = 0x0001_0000
CLONE_NAMESPACES: Final = 0x7E02_0080
"""Every CLONE_NEW* flag: mount, cgroup, uts, ipc, user, pid, net, time."""

_ARCHITECTURES: Final = {
    "x86_64": (seccompy.AUDIT_ARCH_X86_64, X86_64_SYSCALLS),
    "aarch64": (seccompy.AUDIT_ARCH_AARCH64, AARCH64_SYSCALLS),
}
_X32_BIT: Final = 0x4000_0000
_LOW_WORD: Final = 0xFFFF_FFFF
_MSG_FASTOPEN: Final = 0x2000_0000
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_TYPE: Final = 0xF
# Asking and setting what concerns a descriptor itself; any other ioctl may drive a device or a terminal.
_HARMLESS_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_LASTING_IOCTLS: Final = (0x5412, 0x541C, 0x5423, 0x540C, 0x5452, 0x8901, 0x8902)
"""TIOCSTI, TIOCLINUX, TIOCSETD: typing into the terminal of whoever started us; TIOCEXCL: keeping others from it;
FIOASYNC, FIOSETOWN, SIOCSPGRP: signals on input, to a process of our choice."""
_IOCTL_KIND: Final = 0xFFFF_FF00
_TERMINAL_IOCTLS: Final = 0x5400
_COPYING_IOCTLS: Final = (0x4004_9409, 0x4020_940D)
"""FICLONE, FICLONERANGE. Others change what belongs to a file, and need no right to write it."""
_NAMING_PRCTLS: Final = (15, 16, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_VMA: names of threads and of memory."""


class FilterKind(StrEnum):
    """One filter for each kind of process."""

    AGENT = "agent"
    AGENT_COMMAND = "agent-command"
    TOOLS = "tools"
    GATEWAY = "gateway"
    OPERATOR = "operator"


def _masked(index: int, mask: int, value: int) -> tuple[int, int, int, int]:
    return (index, int(seccompy.CmpOp.MASKED_EQ), value, mask)


def _native() -> tuple[int, dict[str, int]]:
    machine = os.uname().machine
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise SandboxRefused(
            Layer.SECCOMP, f"there is no filter for the architecture {machine}", "Run Mycelos on x86_64 or aarch64"
        ) from None


class _Builder:
    """Collects rules by name, leaving out names that this architecture does not have."""

    def __init__(self) -> None:
        self._numbers = _native()[1]
        self.filter = seccompy.Filter(default=int(seccompy.Action.ERRNO) | errno.EPERM)

    def allow(self, name: str, *conditions: tuple[int, int, int, int]) -> None:
        if name in self._numbers:
            self.filter.allow(name, args=list(conditions) or None)

    def allow_all(self, names: frozenset[str]) -> None:
        # The kernel's cost is the same for all: it caches which numbers are always allowed.
        for name in sorted(names):
            self.allow(name)

    def refuse(self, name: str, error: int, *conditions: tuple[int, int, int, int]) -> None:
        if name in self._numbers:
            self.filter.errno(name, error, args=list(conditions) or None)


def _common(build: _Builder, forbidden_mode: int) -> None:
    build.allow_all(COMMON)
    for name, (flags, mode) in call_arguments.OPENING.items():
        build.refuse(name, errno.EPERM, _masked(flags, call_arguments.NEITHER, call_arguments.NEITHER))
        build.allow(name, _masked(flags, call_arguments.CREATION_FLAGS, 0))
        build.allow(name, _masked(mode, forbidden_mode, 0))
    for name, mode in call_arguments.MAKING.items():
        build.allow(name, _masked(mode, forbidden_mode, 0))
    # Its mode is behind a pointer; callers fall back to openat(2).
    build.refuse("openat2", errno.ENOSYS)
    _file_commands(build, call_arguments.FILE_COMMANDS)
    build.allow("fcntl", _masked(1, _LOW_WORD, fcntl.F_SETFL), _masked(2, call_arguments.FORBIDDEN_STATUS_FLAGS, 0))
    # The C library falls back to clone(2), whose flags a filter can see.
    build.refuse("clone3", errno.ENOSYS)
    # Only a connected stream: an address would let an inherited or paired datagram socket reach others.
    build.allow("sendto", _masked(4, 0xFFFF_FFFF_FFFF_FFFF, 0))
    build.allow("prlimit64", _masked(0, _LOW_WORD, 0))


def _file_commands(build: _Builder, commands: Iterable[int]) -> None:
    for command in commands:
        build.allow("fcntl", _masked(1, _LOW_WORD, command))


def _harmless_ioctls(build: _Builder) -> None:
    for command in _HARMLESS_IOCTLS:
        build.allow("ioctl", _masked(1, _LOW_WORD, command))


def _threads(build: _Builder) -> None:
    build.allow("clone", _masked(0, CLONE_THREAD | CLONE_VM | CLONE_NAMESPACES, CLONE_THREAD | CLONE_VM))
    for option in _NAMING_PRCTLS:
        build.allow("prctl", _masked(0, _LOW_WORD, option))


def _stream_pairs(build: _Builder) -> None:
    # A datagram pair could send to any path or abstract name; a stream pair cannot.
    build.allow("socketpair", _masked(0, _LOW_WORD, _AF_UNIX), _masked(1, _SOCK_TYPE, _SOCK_STREAM))
    build.allow("sendmsg", _masked(2, _MSG_FASTOPEN, 0))


def _service(build: _Builder) -> None:
    build.allow_all(SERVING)
    for level, option in call_arguments.SERVICE_OPTIONS:
        build.allow("setsockopt", _masked(1, _LOW_WORD, level), _masked(2, _LOW_WORD, option))
    _harmless_ioctls(build)
    _threads(build)
    _stream_pairs(build)


def _programs(build: _Builder, forbidden_mode: int, *, has_namespaces: bool) -> None:
    build.allow_all(PROGRAMS)
    if has_namespaces:
        build.allow_all(ATTRIBUTES | EXTENDED_ATTRIBUTES | SCHEDULING)
        for name, mode in call_arguments.CHANGING_MODE.items():
            build.allow(name, _masked(mode, forbidden_mode, 0))
    else:
        for name in sorted(EXTENDED_ATTRIBUTES):
            # As on a file system that has none: cp, tar and ls go on without a word.
            build.refuse(name, errno.EOPNOTSUPP)
        for name, places in call_arguments.OWN_SCHEDULING.items():
            build.allow(name, *(_masked(place, _LOW_WORD, 0) for place in places))
    _file_commands(build, call_arguments.PROGRAM_FILE_COMMANDS)
    build.allow("clone", _masked(0, CLONE_NAMESPACES, 0))
    for option in _NAMING_PRCTLS:
        build.allow("prctl", _masked(0, _LOW_WORD, option))
    for command in _LASTING_IOCTLS:
        build.refuse("ioctl", errno.EPERM, _masked(1, _LOW_WORD, command))
    build.allow("ioctl", _masked(1, _IOCTL_KIND, _TERMINAL_IOCTLS))
    for command in _COPYING_IOCTLS:
        build.allow("ioctl", _masked(1, _LOW_WORD, command))
    _stream_pairs(build)


@functools.cache
def compile_filter(kind: FilterKind, *, has_own_group: bool = False, has_namespaces: bool = False) -> bytes:
    """The BPF program of a kind of process, for the running architecture.

    ``has_own_group`` is for a run that root started, with a user and a group that nobody else has: its files may have
    the set-group-ID bit. ``has_namespaces`` is for a process to which files and processes outside do not exist:
    programs may change the attributes and limits of those that they see.
    """
    build = _Builder()
    forbidden_mode = call_arguments.FORBIDDEN_MODE_WITH_OWN_GROUP if has_own_group else call_arguments.FORBIDDEN_MODE
    _common(build, forbidden_mode)
    match kind:
        case FilterKind.AGENT:
            _harmless_ioctls(build)
        case FilterKind.AGENT_COMMAND:
            _harmless_ioctls(build)
            build.allow("execve")
        case FilterKind.TOOLS:
            _programs(build, forbidden_mode, has_namespaces=has_namespaces)
        case FilterKind.GATEWAY:
            _service(build)
        case FilterKind.OPERATOR:
            _service(build)
            build.allow("socket", _masked(0, _LOW_WORD, _AF_UNIX), _masked(1, _SOCK_TYPE, _SOCK_STREAM))
            build.allow("connect")
    return _checks() + build.filter.program


def _checks() -> bytes:
    architecture, numbers = _native()
    kill = int(seccompy.Action.KILL_PROCESS)
    unknown = int(seccompy.Action.ERRNO) | errno.ENOSYS
    load, equal, at_least, above, give = 0x20, 0x15, 0x35, 0x25, 0x06
    records = (
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, architecture),
        (give, 0, 0, kill),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 0, 1, _X32_BIT),
        (give, 0, 0, kill),
        (above, 0, 1, max(numbers.values())),
        (give, 0, 0, unknown),
    )
    return b"".join(struct.pack("<HBBI", *record) for record in records)
