import ctypes
import errno
import fcntl
import mmap
import os
import platform
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest
from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS, syscall_nr

from mycelos.sandbox import call_arguments, kernel, seccomp, system_calls
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.seccomp import FilterKind, compile_filter
from mycelos.sandbox.seccomp_load import load_filter

X32_BIT = 0x4000_0000
UNKNOWN_NUMBER = 4000
NEW_USER = 0x1000_0000


def under(kind: FilterKind, attempt, *, has_own_group: bool = False, has_namespaces: bool = True):
    program = compile_filter(kind, has_own_group=has_own_group, has_namespaces=has_namespaces)

    def run() -> object:
        kernel.set_no_new_privileges()
        load_filter(program)
        try:
            return attempt() or "done"
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    return run


def intel_only(test):
    return pytest.mark.skipif(platform.machine() != "x86_64", reason="the other calling conventions of x86")(test)


@pytest.mark.parametrize("kind", list(FilterKind))
@intel_only
def test_the_x32_numbers_kill_the_process(in_child, kind: FilterKind) -> None:
    assert in_child(under(kind, lambda: kernel.system_call(X32_BIT | 39))) == f"signal {signal.SIGSYS}"


def i386_getpid() -> int:
    code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()


@pytest.mark.parametrize("kind", list(FilterKind))
@intel_only
def test_calls_of_another_architecture_kill_the_process(in_child, kind: FilterKind) -> None:
    assert in_child(under(kind, i386_getpid)) == f"signal {signal.SIGSYS}"


@intel_only
def test_without_the_filter_a_call_of_another_architecture_is_answered(in_child) -> None:
    assert int(in_child(i386_getpid)) > 0


@pytest.mark.parametrize("kind", list(FilterKind))
def test_a_number_newer_than_the_tables_is_unknown_and_not_forbidden(in_child, kind: FilterKind) -> None:
    assert in_child(under(kind, lambda: kernel.system_call(UNKNOWN_NUMBER))) == "ENOSYS"


FAMILIES = [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_VSOCK, socket.AF_PACKET]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [kind for kind in FilterKind if kind is not FilterKind.OPERATOR])
def test_no_socket_of_any_family(in_child, kind: FilterKind, family: socket.AddressFamily) -> None:
    assert in_child(under(kind, lambda: socket.socket(family, socket.SOCK_STREAM).close())) == "EPERM"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_operator_page_has_unix_streams_only(in_child, family: socket.AddressFamily) -> None:
    wanted = "done" if family is socket.AF_UNIX else "EPERM"
    assert in_child(under(FilterKind.OPERATOR, lambda: socket.socket(family, socket.SOCK_STREAM).close())) == wanted
    datagram = under(FilterKind.OPERATOR, lambda: socket.socket(family, socket.SOCK_DGRAM).close())
    assert in_child(datagram) == "EPERM"


def test_the_gateway_may_pair_streams_but_not_datagrams(in_child) -> None:
    def pair(kind: socket.SocketKind):
        return lambda: [end.close() for end in socket.socketpair(socket.AF_UNIX, kind)] and None

    assert in_child(under(FilterKind.GATEWAY, pair(socket.SOCK_STREAM))) == "done"
    assert in_child(under(FilterKind.GATEWAY, pair(socket.SOCK_DGRAM))) == "EPERM"
    assert in_child(under(FilterKind.AGENT, pair(socket.SOCK_STREAM))) == "EPERM"


def test_the_gateway_has_threads_and_no_children(in_child) -> None:
    def thread() -> str:
        seen: list[str] = []
        worker = threading.Thread(target=lambda: seen.append("ran"))
        worker.start()
        worker.join(10)
        return seen[0]

    assert in_child(under(FilterKind.GATEWAY, thread)) == "ran"
    assert in_child(under(FilterKind.GATEWAY, os.fork)) == "EPERM"
    assert in_child(under(FilterKind.GATEWAY, lambda: os.execv("/bin/true", ["true"]))) == "EPERM"
    assert in_child(under(FilterKind.AGENT, os.fork)) == "EPERM"


@pytest.mark.parametrize("mode", ["chmod", "fchmod", "chown", "utime", "setxattr"])
def test_attributes_of_files_are_beyond_the_gateway(in_child, tmp_path, mode: str) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    descriptor = os.open(path, os.O_RDONLY)
    attempts = {
        "chmod": lambda: path.chmod(0o666),
        "fchmod": lambda: os.fchmod(descriptor, 0o666),
        "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(path),
        "setxattr": lambda: os.setxattr(path, "user.x", b"1"),
    }
    attempts[mode]()
    assert in_child(under(FilterKind.GATEWAY, attempts[mode])) == "EPERM"
    os.close(descriptor)


NUMBERS = X86_64_SYSCALLS if platform.machine() == "x86_64" else AARCH64_SYSCALLS
HERE = -100  # AT_FDCWD
MAKE = os.O_CREAT | os.O_EXCL | os.O_WRONLY
MAKING = {
    "open": lambda path, mode: (path, MAKE, mode),
    "openat": lambda path, mode: (HERE, path, MAKE, mode),
    "creat": lambda path, mode: (path, mode),
    "mkdir": lambda path, mode: (path, mode),
    "mkdirat": lambda path, mode: (HERE, path, mode),
}
CHANGING = {
    "chmod": lambda path, mode: (path, mode),
    "fchmod": lambda path, mode: (os.open(path, os.O_RDONLY), mode),
    "fchmodat": lambda path, mode: (HERE, path, mode),
    "fchmodat2": lambda path, mode: (HERE, path, mode, 0),
}


def by_mode(name: str, path: Path, mode: int):
    """Make or change ``path`` by the call itself; the mode that came of it."""

    def attempt() -> str:
        encoded = str(path).encode()
        if name in CHANGING:
            path.touch(0o600)
        made = kernel.system_call(syscall_nr(name), *(MAKING | CHANGING)[name](encoded, mode))
        if name in MAKING and not name.startswith("mkdir"):
            os.close(made)
        return oct(stat.S_IMODE(path.stat().st_mode))

    return attempt


@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o6000])
@pytest.mark.parametrize("name", [name for name in MAKING if name in NUMBERS])
@pytest.mark.parametrize("kind", list(FilterKind))
def test_nothing_is_made_that_runs_as_its_user_for_everybody(
    in_child, tmp_path: Path, kind: FilterKind, name: str, bits: int
) -> None:
    assert in_child(under(kind, by_mode(name, tmp_path / "marked", bits | 0o700))) == "EPERM"
    assert not (tmp_path / "marked").exists()
    assert in_child(under(kind, by_mode(name, tmp_path / "plain", 0o700))) == "0o700"


@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o6000])
@pytest.mark.parametrize("name", [name for name in CHANGING if name in NUMBERS])
def test_a_program_makes_no_file_run_as_its_user_for_everybody(in_child, tmp_path: Path, name: str, bits: int) -> None:
    path = tmp_path / "file"
    assert in_child(under(FilterKind.TOOLS, by_mode(name, path, bits | 0o755))) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, by_mode(name, path, 0xFFFF_FFFF_0000_0000 | bits | 0o755))) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, by_mode(name, path, 0o1755))) == "0o1755"


@pytest.mark.parametrize("name", [name for name in MAKING | CHANGING if name in NUMBERS and "mkdir" not in name])
def test_without_the_filter_a_file_runs_as_its_user(in_child, tmp_path: Path, name: str) -> None:
    assert in_child(by_mode(name, tmp_path / "file", 0o4755)) == "0o4755"


def test_a_run_with_a_group_of_its_own_copies_the_set_group_id_bit_and_never_the_other(
    in_child, tmp_path: Path
) -> None:
    def change(mode: int):
        return under(FilterKind.TOOLS, by_mode("fchmodat", tmp_path / "file", mode), has_own_group=True)

    assert in_child(change(0o2755)) == "0o2755"
    assert in_child(change(0o4755)) == "EPERM"
    assert in_child(change(0o6755)) == "EPERM"


@pytest.mark.parametrize("kind", list(FilterKind))
def test_opening_what_is_there_is_not_judged_by_a_mode_that_means_nothing(
    in_child, tmp_path: Path, kind: FilterKind
) -> None:
    path = tmp_path / "file"
    path.touch()
    openat = syscall_nr("openat")

    def opened() -> str:
        os.close(kernel.system_call(openat, HERE, str(path).encode(), os.O_RDONLY, 0o6755))
        return "opened"

    assert in_child(under(kind, opened)) == "opened"
    nameless = under(
        kind, lambda: kernel.system_call(openat, HERE, str(tmp_path).encode(), os.O_TMPFILE | os.O_RDWR, 0o4755)
    )
    assert in_child(nameless) == "EPERM"


@pytest.mark.parametrize("kind", list(FilterKind))
def test_the_call_whose_mode_no_filter_sees_is_not_there(in_child, kind: FilterKind) -> None:
    assert in_child(under(kind, lambda: kernel.system_call(syscall_nr("openat2"), HERE, b"/", None, 24))) == "ENOSYS"


NAME = b"user.mycelos"
CHANGING_ATTRIBUTES = {
    "chmod": lambda path, _: (path, 0o640),
    "fchmod": lambda _, descriptor: (descriptor, 0o640),
    "fchmodat": lambda path, _: (HERE, path, 0o640),
    "fchmodat2": lambda path, _: (HERE, path, 0o640, 0),
    "chown": lambda path, _: (path, os.geteuid(), -1),
    "lchown": lambda path, _: (path, os.geteuid(), -1),
    "fchown": lambda _, descriptor: (descriptor, os.geteuid(), -1),
    "fchownat": lambda path, _: (HERE, path, os.geteuid(), -1, 0),
    "utime": lambda path, _: (path, None),
    "utimes": lambda path, _: (path, None),
    "futimesat": lambda path, _: (HERE, path, None),
    "utimensat": lambda _, descriptor: (descriptor, None, None, 0),
}
EXTENDED = {
    "setxattr": lambda path, _: (path, NAME, b"1", 1, 0),
    "lsetxattr": lambda path, _: (path, NAME, b"1", 1, 0),
    "fsetxattr": lambda _, descriptor: (descriptor, NAME, b"1", 1, 0),
    "getxattr": lambda path, _: (path, NAME, None, 0),
    "lgetxattr": lambda path, _: (path, NAME, None, 0),
    "fgetxattr": lambda _, descriptor: (descriptor, NAME, None, 0),
    "listxattr": lambda path, _: (path, None, 0),
    "llistxattr": lambda path, _: (path, None, 0),
    "flistxattr": lambda _, descriptor: (descriptor, None, 0),
    "removexattr": lambda path, _: (path, NAME),
    "lremovexattr": lambda path, _: (path, NAME),
    "fremovexattr": lambda _, descriptor: (descriptor, NAME),
}
WATCHING = {"inotify_init": (), "inotify_init1": (0,), "inotify_add_watch": (-1, None, 2), "inotify_rm_watch": (-1, 0)}


@pytest.mark.parametrize("name", [name for name in CHANGING_ATTRIBUTES | EXTENDED if name in NUMBERS])
def test_only_where_namespaces_hide_what_is_outside_do_programs_touch_attributes(
    in_child, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "file"
    path.touch()
    os.setxattr(path, NAME, b"0")
    descriptor = os.open(path, os.O_RDONLY)
    arguments = (CHANGING_ATTRIBUTES | EXTENDED)[name](str(path).encode(), descriptor)

    def attempt() -> None:
        kernel.system_call(syscall_nr(name), *arguments)

    refused = "EPERM" if name in CHANGING_ATTRIBUTES else errno.errorcode[errno.EOPNOTSUPP]
    assert in_child(under(FilterKind.TOOLS, attempt, has_namespaces=False)) == refused
    assert in_child(under(FilterKind.TOOLS, attempt, has_own_group=True, has_namespaces=False)) == refused
    assert in_child(under(FilterKind.TOOLS, attempt)) == "done"
    os.close(descriptor)


def test_every_name_of_the_sets_was_tried() -> None:
    tried = {*CHANGING_ATTRIBUTES, *WATCHING}
    assert system_calls.ATTRIBUTES | set(call_arguments.CHANGING_MODE) == tried
    assert system_calls.EXTENDED_ATTRIBUTES == set(EXTENDED)
    assert system_calls.SCHEDULING == set(OTHERS) == {*call_arguments.OWN_SCHEDULING, "prlimit64"}


@pytest.mark.parametrize("name", [name for name in WATCHING if name in NUMBERS])
def test_only_where_namespaces_hide_what_is_outside_do_programs_watch_files(in_child, name: str) -> None:
    def attempt() -> None:
        kernel.system_call(syscall_nr(name), *WATCHING[name])

    assert in_child(under(FilterKind.TOOLS, attempt, has_namespaces=False)) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, attempt)) in {"done", "EBADF"}


OTHERS = {
    "prlimit64": lambda process: (process, 4, None, None),
    "setpriority": lambda process: (0, process, 0),
    "sched_setaffinity": lambda process: (process, 0, None),
    "sched_setscheduler": lambda process: (process, 0, None),
    "sched_setparam": lambda process: (process, None),
    "sched_setattr": lambda process: (process, None, 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_without_a_process_namespace_a_program_schedules_nobody_but_itself(in_child, name: str) -> None:
    def at(process: int):
        return lambda: kernel.system_call(syscall_nr(name), *OTHERS[name](process))

    let_through = in_child(under(FilterKind.TOOLS, at(0), has_namespaces=False))
    assert let_through != "EPERM"
    assert in_child(under(FilterKind.TOOLS, at(os.getpid()), has_namespaces=False)) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, at(os.getpid()))) == let_through


@pytest.mark.parametrize("which", [os.PRIO_PGRP, os.PRIO_USER])
def test_without_a_process_namespace_a_program_schedules_no_group_and_no_user(in_child, which: int) -> None:
    def attempt() -> None:
        os.setpriority(which, 0, os.getpriority(which, 0))

    assert in_child(under(FilterKind.TOOLS, attempt, has_namespaces=False)) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, attempt)) == "done"


@pytest.mark.parametrize("name", ["open", "openat"])
@pytest.mark.parametrize("kind", list(FilterKind))
def test_no_file_is_opened_for_neither_reading_nor_writing(
    in_child, tmp_path: Path, kind: FilterKind, name: str
) -> None:
    path = tmp_path / "file"
    path.touch()

    def opening(access: int):
        place = (str(path).encode(), access) if name == "open" else (HERE, str(path).encode(), access)
        return lambda: os.close(kernel.system_call(syscall_nr(name), *place, 0))

    neither = os.O_WRONLY | os.O_RDWR
    if name in NUMBERS:
        assert in_child(opening(neither)) == "None"
        for access in (neither, neither | os.O_CREAT, neither | 0xDEAD_BEEF_0000_0000):
            assert in_child(under(kind, opening(access))) == "EPERM"
        for access in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
            assert in_child(under(kind, opening(access))) == "done"


COMMANDS = [*range(64), *range(1024, 1024 + 64)]


def reached_commands() -> list[int]:
    """The commands of fcntl(2) that get as far as the descriptor, which is none."""
    reached = []
    for command in COMMANDS:
        try:
            kernel.system_call(syscall_nr("fcntl"), -1, 0xDEAD_BEEF_0000_0000 | command, 0)
        except OSError as error:
            if error.errno == errno.EBADF:
                reached.append(command)
    return reached


@pytest.mark.parametrize("kind", list(FilterKind))
def test_no_command_on_a_file_but_those_that_are_named(in_child, kind: FilterKind) -> None:
    allowed = {*call_arguments.FILE_COMMANDS, fcntl.F_SETFL}
    if kind is FilterKind.TOOLS:
        allowed |= set(call_arguments.PROGRAM_FILE_COMMANDS)
    assert in_child(under(kind, reached_commands)) == str(sorted(allowed))
    assert in_child(reached_commands) == str(COMMANDS)


@pytest.mark.parametrize("kind", list(FilterKind))
def test_a_descriptor_sends_no_signals_and_is_still_made_non_blocking(in_child, kind: FilterKind) -> None:
    reading, writing = os.pipe()

    def flags(value: int):
        return lambda: str(fcntl.fcntl(reading, fcntl.F_SETFL, value))

    assert in_child(flags(os.O_ASYNC)) == "0"
    for forbidden in (os.O_ASYNC, os.O_DIRECT, os.O_ASYNC | os.O_NONBLOCK):
        assert in_child(under(kind, flags(forbidden))) == "EPERM"
    assert in_child(under(kind, flags(os.O_NONBLOCK))) == "0"
    os.close(reading)
    os.close(writing)


def reached_options() -> str:
    """The options of setsockopt(2) that get as far as the descriptor, which is none."""
    reached = []
    for level in range(300):
        for option in range(100):
            try:
                kernel.system_call(syscall_nr("setsockopt"), -1, level, option, None, 0)
            except OSError as error:
                if error.errno == errno.EBADF:
                    reached.append((level, option))
    return str(reached)


@pytest.mark.parametrize("kind", list(FilterKind))
def test_a_service_sets_one_option_of_a_socket_and_others_none(in_child, kind: FilterKind) -> None:
    allowed = [(6, 1)] if kind in {FilterKind.GATEWAY, FilterKind.OPERATOR} else []
    assert in_child(under(kind, reached_options)) == str(allowed)


LASTING_IOCTLS = {"FIOASYNC": 0x5452, "FIOSETOWN": 0x8901, "SIOCSPGRP": 0x8902, "TIOCEXCL": 0x540C, "TIOCSTI": 0x5412}


@pytest.mark.parametrize("name", LASTING_IOCTLS)
def test_a_program_leaves_nothing_behind_on_a_descriptor_that_it_shares(in_child, name: str) -> None:
    ioctl = syscall_nr("ioctl")
    attempt = under(FilterKind.TOOLS, lambda: kernel.system_call(ioctl, -1, LASTING_IOCTLS[name], None))
    assert in_child(attempt) == "EPERM"


def reached_ioctls() -> list[int]:
    """The requests of ioctl(2) that get as far as the descriptor, which is none."""
    reached = []
    for request in REQUESTS:
        try:
            kernel.system_call(syscall_nr("ioctl"), -1, request, None)
        except OSError as error:
            if error.errno == errno.EBADF:
                reached.append(request)
    return reached


TERMINAL = list(range(0x5400, 0x5500))
COPYING = [0x4020940D, 0x40049409]
CHANGING_FILES = {
    "FS_IOC_SETFLAGS": 0x40086602,
    "FS_IOC32_SETFLAGS": 0x40046602,
    "FS_IOC_SETVERSION": 0x40087602,
    "FS_IOC_FSSETXATTR": 0x401C5820,
    "FS_IOC_SET_ENCRYPTION_POLICY": 0x800C6613,
    "FS_IOC_ENABLE_VERITY": 0x40806685,
}
REQUESTS = [*TERMINAL, *COPYING, *CHANGING_FILES.values(), *range(0x8900, 0x8A00), 0x12345678]


@pytest.mark.parametrize("has_namespaces", [True, False])
def test_a_programs_requests_to_a_device_are_a_terminals_and_copying(in_child, *, has_namespaces: bool) -> None:
    allowed = [request for request in TERMINAL if request not in seccomp._LASTING_IOCTLS] + COPYING
    reached = in_child(under(FilterKind.TOOLS, reached_ioctls, has_namespaces=has_namespaces))
    assert reached == str(allowed)
    assert in_child(reached_ioctls) == str(REQUESTS)


def test_a_garbage_upper_half_does_not_carry_a_forbidden_command_past_the_filter(in_child) -> None:
    injecting = 0xDEAD_BEEF_0000_5412
    assert (
        in_child(under(FilterKind.TOOLS, lambda: kernel.system_call(syscall_nr("ioctl"), 0, injecting, None)))
        == "EPERM"
    )


def test_programs_may_fork_but_make_no_namespace(in_child) -> None:
    def fork() -> str:
        child = os.fork()
        if child == 0:
            os._exit(0)
        return str(os.waitpid(child, 0)[1])

    assert in_child(under(FilterKind.TOOLS, fork)) == "0"
    unshare, clone = syscall_nr("unshare"), syscall_nr("clone")
    assert in_child(under(FilterKind.TOOLS, lambda: kernel.system_call(unshare, NEW_USER))) == "EPERM"
    assert in_child(under(FilterKind.TOOLS, lambda: kernel.system_call(clone, NEW_USER | 17, 0, 0, 0, 0))) == "EPERM"


def test_another_architecture_has_no_filter_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.uname_result(("Linux", "x", "6", "1", "riscv64"))
    monkeypatch.setattr(os, "uname", lambda: machine)
    with pytest.raises(SandboxRefused, match="riscv64") as refused:
        compile_filter.__wrapped__(FilterKind.AGENT)
    assert refused.value.layer is Layer.SECCOMP


@pytest.mark.parametrize("kind", list(FilterKind))
def test_a_filter_fits_the_kernel_and_is_made_for_arm_too(monkeypatch: pytest.MonkeyPatch, kind: FilterKind) -> None:
    assert len(compile_filter(kind)) // 8 < 4096
    machine = os.uname_result(("Linux", "x", "6", "1", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: machine)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert compile_filter.__wrapped__(kind) != compile_filter(kind)
