"""System calls by what they are for. A filter is a sum of these sets; what is in none of them is refused.

Calls that are allowed with some arguments only are in `mycelos.sandbox.call_arguments` and `mycelos.sandbox.seccomp`.
Names that an architecture does not have (``open`` on aarch64) are left out when its filter is made.
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILES: Final = _names("""
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range stat lstat fstat
    newfstatat statx statfs fstatfs lseek access faccessat faccessat2 getdents getdents64 getcwd readlink readlinkat
    dup dup2 dup3 flock truncate ftruncate fallocate fsync fdatasync sync_file_range fadvise64 readahead rename
    renameat renameat2 rmdir unlink unlinkat link linkat umask sendfile copy_file_range pipe pipe2
""")
MEMORY: Final = _names("mmap munmap mremap mprotect brk madvise mincore msync membarrier")
SIGNAL_HANDLING: Final = _names("""
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause
""")
TIME: Final = _names("""
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getitimer setitimer alarm
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime
    timerfd_gettime
""")
WAITING: Final = _names("""
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd
    eventfd2 futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq restart_syscall
    sched_yield
""")
OWN_PROCESS: Final = _names("""
    getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid uname
    sysinfo getrlimit getrusage getpriority getcpu sched_getaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min sched_getattr getrandom exit exit_group set_tid_address arch_prctl
    capget
""")
STREAMS: Final = _names("recvfrom getsockopt getsockname getpeername")
"""Using sockets that are there. shutdown(2) is not in it: on a listener or channel that the supervisor keeps for the
next process, it would last."""

COMMON: Final = FILES | MEMORY | SIGNAL_HANDLING | TIME | WAITING | OWN_PROCESS | STREAMS

SERVING: Final = _names("""
    accept accept4 listen recvmsg recvmmsg signalfd signalfd4 kill tgkill tkill wait4 waitid mlock munlock
""")
"""A service on a listener that it was given: taking connections and receiving descriptors."""

PROGRAMS: Final = _names("""
    execve execveat fork vfork wait4 waitid kill tgkill tkill setpgid setsid chdir fchdir symlink symlinkat
    memfd_create ioprio_get mlock munlock mlock2 recvmsg setrlimit splice tee vmsplice sync syncfs get_mempolicy
    shutdown
""")
"""What ordinary command-line programs need besides: above all starting others."""

ATTRIBUTES: Final = _names("""
    chown fchown fchownat lchown utime utimes utimensat futimesat inotify_init inotify_init1 inotify_add_watch
    inotify_rm_watch
""")
EXTENDED_ATTRIBUTES: Final = _names("""
    getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr
    lremovexattr fremovexattr
""")
"""Both change, or learn, what belongs to a file, and Landlock governs neither: for programs inside namespaces, where
the files outside are not there. By descriptor is no better than by path: installed code may be opened for reading, and
an ordinary user may own it."""

SCHEDULING: Final = _names("""
    prlimit64 setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr
""")
"""Limits and priority of any process of the same user: for programs inside namespaces, which have only their own.
Others may name themselves: `mycelos.sandbox.call_arguments.OWN_SCHEDULING`."""
