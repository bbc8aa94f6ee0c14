"""The sets that filters are summed from: every name is a system call, and none that opens a way out is in a set.

The names are looked up in the table of x86_64, which has all of them; a name that aarch64 lacks is left out there.
"""

from __future__ import annotations

from typing import Final

import pytest
from seccompy.syscalls import syscall_nr

from mycelos.sandbox import call_arguments, system_calls

SETS: Final = {name: value for name, value in vars(system_calls).items() if isinstance(value, frozenset)}

WAYS_OUT: Final = frozenset(
    [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_getfd",
        "pidfd_open",
        "pidfd_send_signal",
        "process_madvise",
        "kcmp",
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsmount",
        "pivot_root",
        "chroot",
        "unshare",
        "setns",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "keyctl",
        "add_key",
        "request_key",
        "init_module",
        "finit_module",
        "kexec_load",
        "open_by_handle_at",
        "name_to_handle_at",
        "modify_ldt",
        "mknod",
        "mknodat",
        "memfd_secret",
        "shmget",
        "shmat",
        "msgget",
        "semget",
        "mq_open",
        "quotactl",
        "swapon",
        "reboot",
        "sethostname",
        "settimeofday",
        "clock_settime",
        "adjtimex",
        "iopl",
        "ioperm",
        "syslog",
        "acct",
        "personality",
    ]
)
BY_ARGUMENT: Final = frozenset(
    {*call_arguments.OPENING, *call_arguments.MAKING, *call_arguments.CHANGING_MODE}
    | {"fcntl", "setsockopt", "openat2", "ioctl", "clone", "prctl"}
)
CONNECTIONS: Final = frozenset({"socket", "connect", "bind", "sendto", "sendmsg", "sendmmsg", "socketpair"})


@pytest.mark.parametrize("name", sorted(set().union(*SETS.values())))
def test_every_name_is_a_system_call(name: str) -> None:
    assert syscall_nr(name) >= 0


@pytest.mark.parametrize("name", sorted(SETS))
def test_no_set_holds_a_way_out(name: str) -> None:
    assert not SETS[name] & WAYS_OUT


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_depends_on_arguments_is_in_no_set_that_is_given_whole(name: str) -> None:
    assert not SETS[name] & BY_ARGUMENT


@pytest.mark.parametrize("name", ["COMMON", "SERVING"])
def test_connecting_is_in_no_set_that_is_given_whole(name: str) -> None:
    assert not SETS[name] & CONNECTIONS


def test_what_every_process_may_do_starts_no_program_and_signals_nobody() -> None:
    forbidden = {
        "execve",
        "execveat",
        "fork",
        "vfork",
        "clone",
        "clone3",
        "kill",
        "tgkill",
        "tkill",
        "prctl",
        "seccomp",
    }
    assert not system_calls.COMMON & forbidden
