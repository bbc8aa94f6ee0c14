"""Walling in a service of ours that is already running: the gateway, and the operator's page.

Called first thing, by the only thread, before any code that handles input is imported. Afterwards the process
holds the descriptors that it names and can make no other way out.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.sandbox import identity, kernel, landlock
from mycelos.sandbox.errors import Layer, SandboxRefused, explain
from mycelos.sandbox.installation import find_installation
from mycelos.sandbox.landlock import READ, WRITE, FileAccess
from mycelos.sandbox.seccomp import FilterKind, compile_filter
from mycelos.sandbox.seccomp_load import load_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SYSTEM_FILES: Final = (
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/os-release",
    "/usr/share/zoneinfo",
    "/usr/lib/ssl",
    "/etc/ssl",
    "/usr/lib/os-release",
    "/dev/urandom",
    "/dev/random",
)
_STANDARD: Final = frozenset({0, 1, 2})


@dataclass(frozen=True)
class ConfinementReport:
    """The walls that stand, and those that are missing because the operator's file accepts it."""

    layers: tuple[Layer, ...]
    missing: tuple[Layer, ...]


def confine_gateway(
    data_directory: Path, keep_descriptors: Sequence[int], *, accept_missing: frozenset[str] = frozenset()
) -> ConfinementReport:
    """Confine the calling process as the gateway.

    It reads installed code and writes below ``gateway/`` of the data folder; it makes no socket but connected pairs,
    connects and binds nothing, starts and signals no process. It accepts on listeners that it was given and receives
    descriptors on its channels.

    Raises:
        SandboxRefused: a wall is missing that ``accept_missing`` does not name.
    """
    gateway = DataLayout(data_directory).gateway
    return _confine(
        FilterKind.GATEWAY,
        [*_readable(data_directory), (str(gateway), int(WRITE))],
        keep_descriptors,
        accept_missing,
    )


def confine_operator(
    data_directory: Path, keep_descriptors: Sequence[int], *, accept_missing: frozenset[str] = frozenset()
) -> ConfinementReport:
    """Confine the calling process as the operator's page.

    It reads installed code and the operator's token, connects unix stream sockets, and writes nothing. The token's
    rule is on its file, which the proxy rewrites in place; the socket's is on its folder, since each proxy makes anew.

    Raises:
        SandboxRefused: a wall is missing that ``accept_missing`` does not name.
    """
    layout = DataLayout(data_directory)
    own: list[tuple[str | int, int]] = [
        (str(layout.operator_token), int(READ)),
        (str(layout.operator_socket.parent), int(FileAccess.RESOLVE_UNIX)),
    ]
    return _confine(FilterKind.OPERATOR, _readable(data_directory) + own, keep_descriptors, accept_missing)


def _readable(data_directory: Path) -> list[tuple[str | int, int]]:
    paths = find_installation().readable(with_programs=False)
    data = str(data_directory.resolve())
    for path in paths:
        if f"{data}/".startswith(f"{os.path.realpath(path)}/"):
            raise SandboxRefused(
                Layer.INSTALLATION,
                f"the data folder {data} lies inside {path}, which every confined process may read",
                "Move it elsewhere and set MYCELOS_DATA_DIR",
            )
    rules: list[tuple[str | int, int]] = [(path, int(READ)) for path in paths]
    rules += [(path, int(READ)) for path in _SYSTEM_FILES if Path(path).exists()]
    rules.append(("/dev/null", int(FileAccess.READ_FILE | FileAccess.WRITE_FILE | FileAccess.TRUNCATE)))
    return rules


def _confine(
    kind: FilterKind,
    rules: list[tuple[str | int, int]],
    keep_descriptors: Sequence[int],
    accept_missing: frozenset[str],
) -> ConfinementReport:
    _require_single_thread()
    program = compile_filter(kind)
    keep = frozenset(keep_descriptors) | _STANDARD
    steps: tuple[tuple[Layer, Callable[[], None]], ...] = (
        (Layer.DESCRIPTORS, _make_output_write_only),
        (Layer.CAPABILITIES, identity.drop_capabilities),
        (Layer.NO_NEW_PRIVILEGES, _renounce),
        (Layer.LANDLOCK_SCOPE, _require_scopes),
        (Layer.LANDLOCK, lambda: _restrict(rules)),
        (Layer.DESCRIPTORS, lambda: kernel.close_descriptors_except(keep)),
        (Layer.SECCOMP, lambda: load_filter(program, all_threads=True)),
    )
    standing: list[Layer] = []
    missing: list[Layer] = []
    for layer, step in steps:
        try:
            step()
        except SandboxRefused as refusal:
            if refusal.layer.value not in accept_missing:
                raise
            missing.append(refusal.layer)
        except OSError as error:
            raise SandboxRefused(layer, explain(error), "Run: mycelos doctor") from None
        else:
            standing.append(layer)
    return ConfinementReport(
        tuple(layer for layer in dict.fromkeys(standing) if layer not in missing), tuple(dict.fromkeys(missing))
    )


def _make_output_write_only() -> None:
    """Give up reading from standard output and error.

    Started in a terminal, they are that terminal, open for reading too: what a person types there later, a secret
    for the vault for one, could be read here. A socket, such as the journal's, has nothing of the kind to read.
    """
    for descriptor in (1, 2):
        is_write_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        if is_write_only or stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            continue
        try:
            opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxRefused(
                Layer.DESCRIPTORS,
                f"the output cannot be opened for writing alone: {explain(error)}",
                "Send the output to a file or a pipe: mycelos serve 2>&1 | cat",
            ) from None
        os.dup2(opened, descriptor)
        os.close(opened)


def _restrict(rules: list[tuple[str | int, int]]) -> None:
    landlock.restrict(landlock.handled_by(landlock.require_abi(landlock.ABI_WITH_TRUNCATE)), rules)


def _require_scopes() -> None:
    landlock.require_abi(landlock.ABI_WITH_SCOPES)


def _renounce() -> None:
    kernel.process_control(kernel.PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.set_no_new_privileges()


def _require_single_thread() -> None:
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only
    if threads != 1:
        raise SandboxRefused(
            Layer.LANDLOCK,
            f"the process has {threads} threads, and Landlock would hold one of them only",
            "Confine before anything starts a thread",
        )
