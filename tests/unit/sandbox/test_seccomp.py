import ctypes
import errno
import mmap
import os
import platform
import signal
import socket
import threading

import pytest
from seccompy.syscalls import syscall_nr

from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.seccomp import FilterKind, compile_filter
from mycelos.sandbox.seccomp_load import load_filter

X32_BIT = 0x4000_0000
UNKNOWN_NUMBER = 4000
NEW_USER = 0x1000_0000


def under(kind: FilterKind, attempt):
    program = compile_filter(kind)

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
