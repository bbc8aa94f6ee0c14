"""Composition of host mode: checks, folders, lock, listeners, channels; then the supervisor's loop."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from mycelos.configuration.environment import Environment
from mycelos.configuration.layout import DataLayout
from mycelos.supervisor.checks import (
    ServeRefusedError,
    check_settings,
    find_proxy_token,
    require_master_key,
)
from mycelos.supervisor.listeners import ListenerError, open_listener, reserve_other_loopback
from mycelos.supervisor.log import LogFileError, ServiceLog, now
from mycelos.supervisor.processes import Descriptors, operator_url, page_url, plan_children
from mycelos.supervisor.state import (
    AlreadyRunningError,
    ChildState,
    SupervisorState,
    boot_id,
    hold_lock,
    read_state,
    remove_state,
    start_ticks,
    write_state,
)
from mycelos.supervisor.supervise import Supervisor

_PR_SET_DUMPABLE: Final = 4
_NEXT_STEPS: Final = {
    errno.EROFS: "mount it so that it can be written, or name another data folder: --data-dir",
    errno.ENOSPC: "make room on that disk",
    errno.EEXIST: "something else lies there; move it away",
}


def serve(environ: Mapping[str, str], announce: Callable[[SupervisorState], None], log_file: Path | None = None) -> int:
    """Run host mode in the foreground until SIGTERM or SIGINT.

    Args:
        environ: the environment; secrets are read from it and handed to the zone that needs them.
        announce: called once, when all processes are ready, or the gateway has been given up and the others are.
        log_file: where the log goes, and whatever this process prints besides; stderr where there is none.

    Returns:
        The exit code: 0 after a signal.

    Raises:
        ServeRefusedError: before any process was started, or once all have ended because one did not start or stay
            up; with the exit code 3 where a wall is missing.
    """
    settings = check_settings(environ)
    layout = DataLayout(settings.data_directory)
    token = find_proxy_token(settings, layout)
    require_master_key(settings, layout)
    _make_folders(layout)
    _hide_memory()
    with ExitStack() as stack:
        try:
            stack.callback(os.close, hold_lock(layout))
        except AlreadyRunningError:
            who = _who_runs(layout)
            message = f"already running: {who} serves {layout.root}; see: mycelos status"
            raise ServeRefusedError(message, 1) from None
        log = _open_log(log_file)
        descriptors = _open_descriptors(settings, stack)
        stack.callback(remove_state, layout)
        describe = _describer(settings)
        states: list[SupervisorState] = []

        def publish(children: tuple[ChildState, ...]) -> None:
            states[:] = [describe(children)]
            write_state(layout, states[0])

        supervisor = Supervisor(
            plan_children(environ, settings, token, descriptors),
            log=log.write,
            publish=publish,
            announce=lambda: announce(states[0]),
        )
        code = supervisor.run()
        if supervisor.failure:
            # The log says it too, in JSON; a person reads this line.
            raise ServeRefusedError(supervisor.failure, code)
        return code


def _who_runs(layout: DataLayout) -> str:
    try:
        running = read_state(layout)
    except (OSError, msgspec.DecodeError):
        running = None
    return f"process {running.pid}" if running is not None else "another process"


def _open_log(file: Path | None) -> ServiceLog:
    try:
        return ServiceLog(file)
    except LogFileError as error:
        raise ServeRefusedError(str(error), 1) from None


def _make_folders(layout: DataLayout) -> None:
    for folder in (layout.proxy, layout.gateway.parent, layout.gateway, layout.run):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        except OSError as error:
            number = error.errno or errno.EIO
            step = _NEXT_STEPS.get(number, f"check who owns {layout.root}")
            message = f"cannot make {folder} a folder of mode 0700: {os.strerror(number)}; {step}"
            raise ServeRefusedError(message, 1) from None


def _open_descriptors(settings: Environment, stack: ExitStack) -> Descriptors:
    try:
        page = stack.enter_context(open_listener("MYCELOS_PORT", settings.bind, settings.port))
        # Secrets are typed there: the vault page is never offered beyond this machine without TLS.
        vault = stack.enter_context(open_listener("MYCELOS_OPERATOR_PORT", "127.0.0.1", settings.operator_port))
        _reserve(stack, "MYCELOS_OPERATOR_PORT", settings.operator_port)
        if settings.bind in {"127.0.0.1", "localhost"}:
            _reserve(stack, "MYCELOS_PORT", settings.port)
    except ListenerError as error:
        raise ServeRefusedError(str(error), 1) from None
    control = [stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    requests = [stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    return Descriptors(
        page_listener=page.fileno(),
        operator_listener=vault.fileno(),
        control_of_proxy=control[0].fileno(),
        control_of_gateway=control[1].fileno(),
        requests_of_spawner=requests[0].fileno(),
        requests_of_gateway=requests[1].fileno(),
    )


def _reserve(stack: ExitStack, variable: str, port: int) -> None:
    held = reserve_other_loopback(variable, port)
    if held is not None:
        stack.enter_context(held)


def _describer(settings: Environment) -> Callable[[tuple[ChildState, ...]], SupervisorState]:
    started, pid, boot = now(), os.getpid(), boot_id()
    ticks = start_ticks(pid)
    if ticks is None:
        message = "cannot read /proc; mount it and start again"
        raise ServeRefusedError(message, 1)

    def describe(children: tuple[ChildState, ...]) -> SupervisorState:
        return SupervisorState(
            v=1,
            pid=pid,
            start_ticks=ticks,
            boot_id=boot,
            started_at=started,
            bind=settings.bind,
            port=settings.port,
            operator_port=settings.operator_port,
            page_url=page_url(settings),
            operator_url=operator_url(settings),
            children=children,
        )

    return describe


def _hide_memory() -> None:
    # The environment may hold the master key. A process that is not dumpable keeps /proc/PID/environ and mem
    # from others of the same user (prctl(2), PR_SET_DUMPABLE).
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        message = "the kernel refused PR_SET_DUMPABLE; the supervisor's memory would be readable"
        raise ServeRefusedError(message, 3)
