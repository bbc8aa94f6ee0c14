"""Landlock: which files a process may reach, and that it signals nobody outside its own domain.

Rights and the ABI version that brought each: https://docs.kernel.org/userspace-api/landlock.html.
Nothing here is best effort: what is handled is everything that the running kernel knows, and a right that cannot
be handled is never asked for in silence; the caller states the lowest ABI that it accepts.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Final

from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused, explain

if TYPE_CHECKING:
    from collections.abc import Iterable

ABI_WITH_TRUNCATE: Final = 3
"""Without it a file that may only be read could still be emptied."""
ABI_WITH_SCOPES: Final = 6
"""Signals and abstract sockets: needed where no namespace keeps processes apart."""


class FileAccess(IntFlag):
    """LANDLOCK_ACCESS_FS_*."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIRECTORY = 1 << 3
    REMOVE_DIRECTORY = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHARACTER_DEVICE = 1 << 6
    MAKE_DIRECTORY = 1 << 7
    MAKE_FILE = 1 << 8
    MAKE_SOCKET = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK_DEVICE = 1 << 11
    MAKE_SYMBOLIC_LINK = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    DEVICE_CONTROL = 1 << 15
    RESOLVE_UNIX = 1 << 16


READ: Final = FileAccess.READ_FILE | FileAccess.READ_DIRECTORY
WRITE: Final = (
    READ
    | FileAccess.WRITE_FILE
    | FileAccess.TRUNCATE
    | FileAccess.MAKE_FILE
    | FileAccess.MAKE_DIRECTORY
    | FileAccess.REMOVE_FILE
    | FileAccess.REMOVE_DIRECTORY
    | FileAccess.REFER
)
"""Plain files and folders: no device, socket, pipe or symbolic link, and nothing to execute."""

_ON_FILES: Final = (
    FileAccess.EXECUTE
    | FileAccess.WRITE_FILE
    | FileAccess.READ_FILE
    | FileAccess.TRUNCATE
    | FileAccess.DEVICE_CONTROL
    | FileAccess.RESOLVE_UNIX
)
_FIRST_RIGHTS: Final = (1 << 13) - 1
_FILE_RIGHTS_SINCE: Final = (
    (1, _FIRST_RIGHTS),
    (2, FileAccess.REFER),
    (3, FileAccess.TRUNCATE),
    (5, FileAccess.DEVICE_CONTROL),
    (9, FileAccess.RESOLVE_UNIX),
)
_NETWORK_RIGHTS_SINCE: Final = ((4, 0b0011), (10, 0b1100))
_SCOPES_SINCE: Final = ((6, 0b11),)


@dataclass(frozen=True)
class Handled:
    """What is denied unless a rule allows it, as the kernel's bit masks. No network rule is ever added."""

    files: int
    network: int
    scopes: int


def handled_by(abi: int) -> Handled:
    """Every right that a kernel with this ABI version knows, as far as this module knows it."""

    def known(table: tuple[tuple[int, int], ...]) -> int:
        mask = 0
        for since, rights in table:
            mask |= rights if abi >= since else 0
        return mask

    return Handled(known(_FILE_RIGHTS_SINCE), known(_NETWORK_RIGHTS_SINCE), known(_SCOPES_SINCE))


def require_abi(minimum: int) -> int:
    """The running kernel's ABI version.

    Raises:
        SandboxRefused: there is no Landlock, or it is older than ``minimum``.
    """
    try:
        abi = kernel.landlock_abi()
    except OSError as error:
        raise SandboxRefused(
            Layer.LANDLOCK,
            f"the kernel refuses it: {explain(error)}",
            "Use a kernel from 6.2 on with landlock in its lsm= list (cat /sys/kernel/security/lsm)",
        ) from None
    if abi < minimum:
        layer = Layer.LANDLOCK_SCOPE if minimum >= ABI_WITH_SCOPES else Layer.LANDLOCK
        raise SandboxRefused(
            layer,
            f"the kernel offers Landlock ABI {abi}, and {minimum} is needed",
            "Use a newer kernel (6.12 or later), or let bubblewrap work: then ABI 3 (6.2) is enough",
        )
    return abi


def restrict(handled: Handled, rules: Iterable[tuple[str | int, int]]) -> None:
    """Put rules into force on the calling thread; each is a path, or an open descriptor, and the rights on it.

    Raises:
        SandboxRefused: any step failed; the process must not go on.
    """
    try:
        ruleset = kernel.landlock_create_ruleset(handled.files, handled.network, handled.scopes)
    except OSError as error:
        raise _cannot(error, "create a ruleset") from None
    for place, access in rules:
        enforceable = access & handled.files
        if not enforceable:
            # A right that this kernel does not handle is not restricted, and a rule of no rights is an error.
            continue
        try:
            _allow(ruleset, place, enforceable)
        except OSError as error:
            raise _cannot(error, f"allow {place}") from None
    try:
        kernel.landlock_restrict_self(ruleset)
    except OSError as error:
        raise _cannot(error, "restrict the process") from None
    finally:
        os.close(ruleset)


def _allow(ruleset: int, place: str | int, access: int) -> None:
    if isinstance(place, int):
        kernel.landlock_allow_path(ruleset, place, access)
        return
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        raise SandboxRefused(
            Layer.INSTALLATION,
            f"user {os.geteuid()}, whom the process runs as, may not look at {place}",
            "Install Mycelos and its Python where every user can read them (/opt/mycelos), or let bubblewrap work",
        ) from None
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _ON_FILES
        kernel.landlock_allow_path(ruleset, descriptor, access)
    finally:
        os.close(descriptor)


def _cannot(error: OSError, step: str) -> SandboxRefused:
    return SandboxRefused(
        Layer.LANDLOCK,
        f"cannot {step}: {explain(error)}",
        "Check that the paths of Mycelos and its Python are readable by the user who runs them, then: mycelos doctor",
    )
