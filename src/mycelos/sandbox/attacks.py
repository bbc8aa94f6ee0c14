"""The ways out that a confined process tries, as data. Each either raises OSError (held) or returns (open).

Run as a program inside a sandbox it reads its targets from the channel and answers with one outcome each. The same
functions run unconfined are the control: there each must succeed, or its failure here shows nothing.
"""

# ruff: noqa: PTH101, PTH104, PTH116, PTH123, PTH208
# An attack is written as the system call that it tries.

from __future__ import annotations

import _thread
import ctypes
import errno
import fcntl
import os
import resource
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.sandbox.attempt import Attack, Order, Targets, attempt_all, call, first_that_works, reaches, refused
from mycelos.sandbox.attribute_attacks import ATTRIBUTE_ATTACKS
from mycelos.sandbox.lasting_attacks import LASTING_ATTACKS

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWUSER: Final = 0x1000_0000
_PTRACE_SEIZE: Final = 0x4206
_TIOCSTI: Final = 0x5412
_IN_MODIFY: Final = 2


def _read(path: str) -> None:
    with open(path, "rb") as stream:
        stream.read(1)


def _connect_tcp(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        pass


def _send_datagram(targets: Targets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"out", ("127.0.0.1", targets.udp_port))


def _fast_open(targets: Targets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
        sender.sendto(b"out", 0x2000_0000, ("127.0.0.1", targets.tcp_port))


def _connect_unix(address: str | bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)


def _datagram_pair(_: Targets) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.close()
    theirs.close()


def _socket_of(family: int, kind: int) -> Callable[[Targets], None]:
    def attempt(_: Targets) -> None:
        socket.socket(family, kind).close()

    return attempt


def _fork(_: Targets) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _start_thread(_: Targets) -> None:
    finished = _thread.allocate_lock()
    finished.acquire()
    try:
        _thread.start_new_thread(finished.release, ())
    except RuntimeError:
        refused(errno.EPERM)
    finished.acquire()


def _execute(_: Targets) -> None:
    try:
        call("execve", b"/nonexistent/program", None, None)
    except FileNotFoundError:
        return


def _ptrace(targets: Targets) -> None:
    call("ptrace", _PTRACE_SEIZE, targets.process, 0, 0)


def _read_memory(targets: Targets) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(targets.memory_address, 8)
    call("process_vm_readv", targets.process, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


def _signal_by_descriptor(targets: Targets) -> None:
    descriptor = os.pidfd_open(targets.process)
    try:
        call("pidfd_send_signal", descriptor, 0, None, 0)
    finally:
        os.close(descriptor)


def _steal_descriptor(targets: Targets) -> None:
    descriptor = os.pidfd_open(targets.process)
    try:
        os.close(call("pidfd_getfd", descriptor, targets.descriptor, 0))
    finally:
        os.close(descriptor)


def _clone3(_: Targets) -> None:
    # Too small a structure is EINVAL where the call is reached at all.
    try:
        call("clone3", None, 0)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFAULT):
            raise


def _watch(targets: Targets) -> None:
    descriptor = call("inotify_init1", 0)
    try:
        call("inotify_add_watch", descriptor, targets.outside_directory.encode(), _IN_MODIFY)
    finally:
        os.close(descriptor)


def _enter(targets: Targets) -> None:
    own = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(targets.outside_directory)
        # Back, so that the attacks that follow have a folder that they may write.
        os.fchdir(own)
    finally:
        os.close(own)


def _link_out(targets: Targets) -> None:
    with open("linked", "wb"):
        pass
    os.link("linked", f"{targets.outside_directory}/linked-out-{os.getpid()}")


def _rename_out(targets: Targets) -> None:
    with open("renamed", "wb"):
        pass
    os.rename("renamed", f"{targets.outside_directory}/renamed-out-{os.getpid()}")


def _write_out(targets: Targets) -> None:
    with open(f"{targets.outside_directory}/written-{os.getpid()}", "wb"):
        pass


def _inherited(targets: Targets) -> None:
    os.fstat(targets.descriptor)


def _environment(targets: Targets) -> None:
    if targets.environment_name not in os.environ:
        refused(errno.ENOENT)


def _make_executable(_: Targets) -> None:
    with open("program", "wb"):
        pass
    os.chmod("program", 0o700)


def _memory_file(_: Targets) -> None:
    os.close(os.memfd_create("program"))


def _type_into_terminal(_: Targets) -> None:
    try:
        fcntl.ioctl(0, _TIOCSTI, b"x")
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EIO):
            raise


def _raise_limit(_: Targets) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError:
        refused(errno.EPERM)


def _limit_other(targets: Targets) -> None:
    # To what they are: that it may is enough.
    resource.prlimit(targets.process, resource.RLIMIT_CORE, resource.prlimit(targets.process, resource.RLIMIT_CORE))


def _slow_down_other(targets: Targets) -> None:
    process = targets.process
    first_that_works(
        (
            lambda: os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process)),
            lambda: os.sched_setaffinity(process, os.sched_getaffinity(process)),
            lambda: os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0)),
            lambda: os.sched_setparam(process, os.sched_param(0)),
        )
    )


def _each_forbidden_file(targets: Targets) -> None:
    first_that_works(partial(_read, path) for path in targets.forbidden_files)


def _each_forbidden_socket(targets: Targets) -> None:
    first_that_works(partial(_connect_unix, path) for path in targets.forbidden_sockets)


FILE_ATTACKS: Final = (
    Attack("read-secret", "reads a file outside its workspace", lambda t: _read(t.secret_file)),
    Attack("read-passwd", "reads /etc/passwd", lambda _: _read("/etc/passwd")),
    Attack("list-outside", "lists a folder outside", lambda t: os.listdir(t.outside_directory)),
    Attack("write-outside", "creates a file outside", _write_out),
    Attack("truncate-outside", "empties a file outside", lambda t: os.truncate(f"{t.outside_directory}/plain", 0)),
    Attack("link-out", "links a file of its own to a place outside", _link_out),
    Attack("rename-out", "moves a file of its own to a place outside", _rename_out),
    *ATTRIBUTE_ATTACKS,
    Attack("watch-outside", "watches a folder outside for changes", _watch),
    Attack("enter-outside", "makes a folder outside its working folder", _enter),
    Attack("status-outside", "learns size and owner of a file outside", lambda t: os.stat(t.secret_file)),
    Attack(
        "read-other-process", "reads the environment of another process", lambda t: _read(f"/proc/{t.process}/environ")
    ),
    Attack("device", "opens a device beyond null, zero and random", lambda _: _read("/dev/full")),
    Attack("fifo", "makes a named pipe", lambda _: os.mkfifo("pipe")),
)
NETWORK_ATTACKS: Final = (
    Attack("tcp", "connects by TCP", lambda t: _connect_tcp(t.tcp_port)),
    Attack("tcp-fast-open", "sends by TCP Fast Open", _fast_open),
    Attack("udp", "sends a datagram", _send_datagram),
    Attack("unix-path", "connects to a unix socket by path", lambda t: _connect_unix(t.unix_path)),
    Attack("unix-abstract", "connects to an abstract unix socket", lambda t: _connect_unix(f"\0{t.abstract_name}")),
    Attack("unix-datagram-pair", "makes a pair of datagram sockets", _datagram_pair),
    Attack(
        "connect",
        "reaches connect on a descriptor that it holds",
        reaches("connect", -1, None, 0, reached=(errno.EBADF,)),
    ),
    Attack("bind", "reaches bind on a descriptor that it holds", reaches("bind", -1, None, 0, reached=(errno.EBADF,))),
    Attack("shutdown", "shuts a shared socket down for all", reaches("shutdown", -1, 2, reached=(errno.EBADF,))),
    Attack("socket-inet6", "makes an IPv6 socket", _socket_of(socket.AF_INET6, socket.SOCK_STREAM)),
    Attack("socket-netlink", "makes a netlink socket", _socket_of(socket.AF_NETLINK, socket.SOCK_RAW)),
    Attack("socket-vsock", "makes a vsock socket", _socket_of(socket.AF_VSOCK, socket.SOCK_STREAM)),
)
PROCESS_ATTACKS: Final = (
    Attack("signal", "signals another process", lambda t: os.kill(t.process, 0)),
    Attack("signal-descriptor", "signals through a process descriptor", _signal_by_descriptor),
    Attack("ptrace", "traces another process", _ptrace),
    Attack("read-memory", "reads another process's memory", _read_memory),
    Attack("steal-descriptor", "takes a descriptor of another process", _steal_descriptor),
    Attack("limit-other", "sets a limit of another process", _limit_other),
    Attack("slow-down-other", "sets the priority or the processors of other processes", _slow_down_other),
    Attack("fork", "starts a process", _fork),
    Attack("execute", "executes a program", _execute),
    Attack("executable-file", "makes a file of its own executable", _make_executable),
    Attack("executable-memory", "makes a file in memory that could be executed", _memory_file),
    Attack("inherited", "uses a descriptor that its starter left open", _inherited),
    Attack("environment", "finds its starter's environment", _environment),
    Attack("clone3", "reaches clone3", _clone3),
    Attack("raise-limit", "raises a limit of its own", _raise_limit),
    Attack("terminal", "types into the terminal of its starter", _type_into_terminal),
)
_PARAMETERS: Final = ctypes.create_string_buffer(256)
KERNEL_ATTACKS: Final = (
    Attack("io-uring", "sets up io_uring", lambda _: os.close(call("io_uring_setup", 1, _PARAMETERS))),
    Attack("bpf", "reaches bpf", reaches("bpf", 0, None, 0, reached=(errno.EINVAL, errno.EFAULT))),
    Attack("keyring", "reaches the kernel's keyrings", lambda _: call("keyctl", 0, 0xFFFF_FFFD, 0)),
    Attack(
        "perf",
        "reaches perf events",
        reaches("perf_event_open", None, 0, -1, -1, 0, reached=(errno.EFAULT, errno.E2BIG)),
    ),
    Attack("userfaultfd", "handles page faults", lambda _: os.close(call("userfaultfd", 1))),
    Attack("mount", "reaches mount", reaches("mount", None, None, None, 0, None, reached=(errno.EFAULT, errno.EINVAL))),
    Attack("setns", "reaches setns", reaches("setns", -1, 0, reached=(errno.EBADF,))),
    Attack("unshare", "makes a user namespace", lambda _: call("unshare", _CLONE_NEWUSER)),
    # Last: a namespace of users is made by a process of one thread only, and a thread takes its time to go.
    Attack("thread", "starts a thread", _start_thread),
)

AGENT_ATTACKS: Final = FILE_ATTACKS + NETWORK_ATTACKS + PROCESS_ATTACKS + LASTING_ATTACKS + KERNEL_ATTACKS
"""Every attack on a run. What remains open under Landlock alone is in `mycelos.sandbox.probe`."""

_PROGRAMS_MAY: Final = frozenset({"fork", "execute", "executable-file", "executable-memory", "thread", "shutdown"})
TOOLS_ATTACKS: Final = tuple(attack for attack in AGENT_ATTACKS if attack.name not in _PROGRAMS_MAY)
"""Every attack on ordinary programs in the sandbox: they start others, and end what they share with whoever started
them."""

GATEWAY_ATTACKS: Final = (
    Attack("read-kept", "reads the key, the vault, the ledger or the operator's token", _each_forbidden_file),
    Attack("connect-kept", "connects to the operator's or the container engine's socket", _each_forbidden_socket),
    *(
        attack
        for attack in AGENT_ATTACKS
        # A gateway runs threads, learns sizes, and may signal nobody but itself.
        if attack.name not in {"thread", "status-outside", "environment"}
    ),
)
"""Every attack on a confined gateway."""


def main() -> None:
    """Inside the sandbox: an order from the channel, outcomes back on it."""
    channel = socket.socket(fileno=3)
    (length,) = struct.unpack("!I", channel.recv(4, socket.MSG_WAITALL))
    order = msgspec.json.decode(channel.recv(length, socket.MSG_WAITALL), type=Order)
    ordered = tuple(attack for attack in AGENT_ATTACKS if attack.name in order.names)
    channel.sendall(msgspec.json.encode(attempt_all(ordered, order.targets)))
    channel.close()


if __name__ == "__main__":
    main()
