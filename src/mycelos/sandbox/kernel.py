"""The few system calls that Python's standard library does not offer, each raising OSError on any errno.

Written against libc directly: the lookup in `ctypes.util` starts a compiler or ldconfig, which neither a confined
process nor a cold start can afford.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_TSYNC: Final = 1

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

# Numbers from 424 on are the same on every architecture (Linux, asm-generic/unistd.h).
_CLOSE_RANGE: Final = 436
_OPENAT2: Final = 437
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}

_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_LANDLOCK_RULE_PATH_BENEATH: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522
_HIGHEST_DESCRIPTOR: Final = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def system_call(number: int, *arguments: object) -> int:
    """Call ``number``; integers go as the 64-bit words that the kernel reads."""
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words))


def process_control(option: int, argument: int = 0, second: int = 0) -> int:
    """prctl(2)."""
    words = [ctypes.c_ulong(value) for value in (argument, second, 0, 0)]
    return _checked(_libc.prctl(ctypes.c_int(option), *words))


def set_no_new_privileges() -> None:
    """From here on no execve(2) gains a privilege; irreversible."""
    process_control(PR_SET_NO_NEW_PRIVS, 1)


def close_descriptors_except(keep: frozenset[int]) -> None:
    """Close every descriptor of the process that is not in ``keep``."""
    first = 0
    for descriptor in sorted(keep):
        if descriptor > first:
            system_call(_CLOSE_RANGE, first, descriptor - 1, 0)
        first = descriptor + 1
    system_call(_CLOSE_RANGE, first, _HIGHEST_DESCRIPTOR, 0)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open ``path`` below the descriptor ``directory``: no symbolic link, no way out (openat2(2))."""
    how = _OpenHow(
        flags=flags | os.O_CLOEXEC, mode=0, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    )
    return system_call(_OPENAT2, directory, path.encode(), ctypes.byref(how), ctypes.sizeof(how))


def landlock_abi() -> int:
    """The kernel's Landlock ABI version."""
    return system_call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)


def landlock_create_ruleset(handled_files: int, handled_network: int, scoped: int) -> int:
    """A descriptor of a new ruleset. Older kernels accept the whole structure while its unknown end is zero."""
    attributes = _RulesetAttributes(handled_files, handled_network, scoped)
    return system_call(_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)


def landlock_allow_path(ruleset: int, descriptor: int, access: int) -> None:
    """Allow ``access`` on the file, or beneath the directory, that ``descriptor`` holds open."""
    attributes = _PathBeneath(access, descriptor)
    system_call(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(attributes), 0)


def landlock_restrict_self(ruleset: int) -> None:
    """Put the ruleset into force for the calling thread and its children; irreversible."""
    system_call(_LANDLOCK_RESTRICT_SELF, ruleset, 0)


def seccomp_load(program: bytes, flags: int = 0) -> None:
    """Load a filter made of eight-byte `struct sock_filter` records; needs no-new-privileges; irreversible."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    system_call(_SECCOMP[os.uname().machine], SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(header))


def clear_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets (capset(2))."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())))


def effective_capabilities() -> int:
    """The effective set of the calling thread as a bit mask (capget(2))."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    words = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(ctypes.byref(header), ctypes.byref(words)))
    return int(words[0]) | int(words[3]) << 32
