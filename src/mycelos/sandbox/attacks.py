"""The ways out that a confined process tries, as data. Each either raises OSError (held) or returns (open).

Run as a program inside a sandbox it reads its targets from the channel and answers with one outcome each. The same
functions run unconfined are the control: there each must succeed, or its failure here shows nothing.
"""

# ruff: noqa: PTH101, PTH104, PTH116, PTH123, PTH208, S103
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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec
from seccompy.syscalls import syscall_nr

from mycelos.sandbox.kernel import system_call

_CLONE_NEWUSER: Final = 0x1000_0000
_PTRACE_SEIZE: Final = 0x4206
_TIOCSTI: Final = 0x5412
_IN_MODIFY: Final = 2


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is attacked: things of the attacking test's own, made so that an unconfined process reaches them."""

    secret_file: str
    outside_directory: str
    tcp_port: int
    udp_port: int
    unix_path: str
    abstract_name: str
    process: int
    memory_address: int
    descriptor: int
    environment_name: str
    forbidden_files: tuple[str, ...] = ()
    forbidden_sockets: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one attack. ``detail`` is the error's name, or what was got."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True)
class Attack:
    """One way out: a sentence for people, and the try."""

    name: str
    sentence: str
    attempt: Callable[[Targets], object]


def _call(name: str, *arguments: object) -> int:
    return system_call(syscall_nr(name), *arguments)


def _close(descriptor: int) -> None:
    os.close(descriptor)


def _refused(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


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
        _refused(errno.EPERM)
    finished.acquire()


def _execute(_: Targets) -> None:
    try:
        _call("execve", b"/nonexistent/program", None, None)
    except FileNotFoundError:
        return


def _ptrace(targets: Targets) -> None:
    _call("ptrace", _PTRACE_SEIZE, targets.process, 0, 0)


def _read_memory(targets: Targets) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(targets.memory_address, 8)
    _call("process_vm_readv", targets.process, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


def _signal_by_descriptor(targets: Targets) -> None:
    descriptor = os.pidfd_open(targets.process)
    try:
        _call("pidfd_send_signal", descriptor, 0, None, 0)
    finally:
        os.close(descriptor)


def _steal_descriptor(targets: Targets) -> None:
    descriptor = os.pidfd_open(targets.process)
    try:
        _close(_call("pidfd_getfd", descriptor, targets.descriptor, 0))
    finally:
        os.close(descriptor)


def _clone3(_: Targets) -> None:
    # Too small a structure is EINVAL where the call is reached at all.
    try:
        _call("clone3", None, 0)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFAULT):
            raise


def _reaches(name: str, *arguments: object, reached: tuple[int, ...]) -> Callable[[Targets], None]:
    """Attack by a call whose arguments are wrong: one of the ``reached`` errors shows that it was let through."""

    def attempt(_: Targets) -> None:
        try:
            _close(_call(name, *arguments))
        except OSError as error:
            if error.errno not in reached:
                raise

    return attempt


def _watch(targets: Targets) -> None:
    descriptor = _call("inotify_init1", 0)
    try:
        _call("inotify_add_watch", descriptor, targets.outside_directory.encode(), _IN_MODIFY)
    finally:
        os.close(descriptor)


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
        _refused(errno.ENOENT)


def _make_executable(_: Targets) -> None:
    with open("program", "wb"):
        pass
    os.chmod("program", 0o700)


def _memory_file(_: Targets) -> None:
    _close(os.memfd_create("program"))


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
        _refused(errno.EPERM)


def _each_forbidden_file(targets: Targets) -> None:
    _first_that_works(_read, targets.forbidden_files)


def _each_forbidden_socket(targets: Targets) -> None:
    _first_that_works(_connect_unix, targets.forbidden_sockets)


def _first_that_works(attempt: Callable[[str], None], places: tuple[str, ...]) -> None:
    last: OSError = FileNotFoundError(errno.ENOENT, "nothing to try")
    for place in places:
        try:
            attempt(place)
        except OSError as error:
            last = error
        else:
            return
    raise last


FILE_ATTACKS: Final = (
    Attack("read-secret", "reads a file outside its workspace", lambda t: _read(t.secret_file)),
    Attack("read-passwd", "reads /etc/passwd", lambda _: _read("/etc/passwd")),
    Attack("list-outside", "lists a folder outside", lambda t: os.listdir(t.outside_directory)),
    Attack("write-outside", "creates a file outside", _write_out),
    Attack("truncate-outside", "empties a file outside", lambda t: os.truncate(f"{t.outside_directory}/plain", 0)),
    Attack("link-out", "links a file of its own to a place outside", _link_out),
    Attack("rename-out", "moves a file of its own to a place outside", _rename_out),
    Attack(
        "mode-outside", "changes the mode of a file outside", lambda t: os.chmod(f"{t.outside_directory}/plain", 0o666)
    ),
    Attack("times-outside", "changes the times of a file outside", lambda t: os.utime(f"{t.outside_directory}/plain")),
    Attack(
        "attribute-outside",
        "sets an attribute of a file outside",
        lambda t: os.setxattr(f"{t.outside_directory}/plain", "user.mycelos", b"1"),
    ),
    Attack("watch-outside", "watches a folder outside for changes", _watch),
    Attack("enter-outside", "makes a folder outside its working folder", lambda t: os.chdir(t.outside_directory)),
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
        _reaches("connect", -1, None, 0, reached=(errno.EBADF,)),
    ),
    Attack("bind", "reaches bind on a descriptor that it holds", _reaches("bind", -1, None, 0, reached=(errno.EBADF,))),
    Attack("shutdown", "shuts a shared socket down for all", _reaches("shutdown", -1, 2, reached=(errno.EBADF,))),
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
    Attack("io-uring", "sets up io_uring", lambda _: _close(_call("io_uring_setup", 1, _PARAMETERS))),
    Attack("bpf", "reaches bpf", _reaches("bpf", 0, None, 0, reached=(errno.EINVAL, errno.EFAULT))),
    Attack("keyring", "reaches the kernel's keyrings", lambda _: _call("keyctl", 0, 0xFFFF_FFFD, 0)),
    Attack(
        "perf",
        "reaches perf events",
        _reaches("perf_event_open", None, 0, -1, -1, 0, reached=(errno.EFAULT, errno.E2BIG)),
    ),
    Attack("userfaultfd", "handles page faults", lambda _: _close(_call("userfaultfd", 1))),
    Attack(
        "mount", "reaches mount", _reaches("mount", None, None, None, 0, None, reached=(errno.EFAULT, errno.EINVAL))
    ),
    Attack("setns", "reaches setns", _reaches("setns", -1, 0, reached=(errno.EBADF,))),
    Attack("unshare", "makes a user namespace", lambda _: _call("unshare", _CLONE_NEWUSER)),
    # Last: a namespace of users is made by a process of one thread only, and a thread takes its time to go.
    Attack("thread", "starts a thread", _start_thread),
)

AGENT_ATTACKS: Final = FILE_ATTACKS + NETWORK_ATTACKS + PROCESS_ATTACKS + KERNEL_ATTACKS
"""Every attack on a run. What remains open under Landlock alone is in `mycelos.sandbox.probe`."""

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


def attempt_all(attacks: tuple[Attack, ...], targets: Targets) -> list[Outcome]:
    """Try each attack in turn; an error of any other kind than OSError is a fault of the attack and is raised."""
    outcomes = []
    for attack in attacks:
        try:
            attack.attempt(targets)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            outcomes.append(Outcome(attack.name, held=True, detail=name))
        else:
            outcomes.append(Outcome(attack.name, held=False, detail=f"it {attack.sentence}"))
    return outcomes


def main() -> None:
    """Inside the sandbox: targets from the channel, outcomes back on it."""
    channel = socket.socket(fileno=3)
    (length,) = struct.unpack("!I", channel.recv(4, socket.MSG_WAITALL))
    targets = msgspec.json.decode(channel.recv(length, socket.MSG_WAITALL), type=Targets)
    channel.sendall(msgspec.json.encode(attempt_all(AGENT_ATTACKS, targets)))
    channel.close()


if __name__ == "__main__":
    main()
