"""Another machine, played on this one: without namespaces, without Landlock, or run by an ordinary user.

`python sandbox_machine.py --deny WHAT… -- MODULE [ARGUMENTS]` loads an outer seccomp filter that makes the kernel
answer as one would that lacks WHAT, then runs MODULE as a program. It stands outside of every sandbox of ours.
"""

from __future__ import annotations

import errno
import os
import runpy
import shutil
import sys
from pathlib import Path

import seccompy

NAMESPACES = 0x7E02_0000
"""What a default container profile looks for in clone(2)."""


def deny(what: set[str]) -> None:
    outer = seccompy.Filter()
    if "namespaces" in what:
        for name in ("unshare", "mount", "setns", "pivot_root"):
            outer.errno(name, errno.EPERM)
        outer.errno("clone3", errno.ENOSYS)
        for bit in range(32):
            if NAMESPACES >> bit & 1:
                outer.errno("clone", errno.EPERM, args=[(0, int(seccompy.CmpOp.MASKED_EQ), 1 << bit, 1 << bit)])
    if "landlock" in what:
        for name in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
            outer.errno(name, errno.ENOSYS)
    if "landlock-restrict" in what:
        outer.errno("landlock_restrict_self", errno.EPERM)
    if "seccomp" in what:
        outer.errno("seccomp", errno.EINVAL)
    if "prlimit" in what:
        outer.errno("prlimit64", errno.EPERM)
    # The library finds libc by starting programs; that must happen before the filter.
    outer.load()


def on_machine(module: str, *arguments: str, without: tuple[str, ...] = ()) -> list[str]:
    """The command that runs ``module`` on a machine without what is named."""
    denied = [word for what in without for word in ("--deny", what)]
    return [sys.executable, str(Path(__file__).resolve()), *denied, "--", module, *arguments]


def as_ordinary_user(command: list[str], user: int = 2000) -> list[str]:
    """The command as ``user`` when root runs the tests. Python may lie where only root can look: a mount
    namespace of the command's own then shows it at the same place to everyone."""
    if os.geteuid() != 0:
        return command
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    return readable_to_all([*drop, *command])


def readable_to_all(command: list[str]) -> list[str]:
    """The command in a mount namespace where the interpreter's folders can be read by every user."""
    closed = sorted({str(folder) for folder in map(_closed_ancestor, (sys.prefix, sys.base_prefix)) if folder})
    if not closed or os.geteuid() != 0:
        return command
    unshare = shutil.which("unshare")
    assert unshare
    steps = ["set -e", "hold=$(mktemp -d)", "mount -t tmpfs -o mode=755 hold $hold"]
    kept = [path for path in (sys.prefix, sys.base_prefix) if _closed_ancestor(path)]
    for number, path in enumerate(kept):
        steps += [f"mkdir $hold/{number}", f"mount --bind {path} $hold/{number}"]
    steps += [f"mount -t tmpfs -o mode=755 open {folder}" for folder in closed]
    for number, path in enumerate(kept):
        steps += [f"mkdir -p {path}", f"mount --bind $hold/{number} {path}"]
    return [unshare, "--mount", "sh", "-c", "; ".join([*steps, 'exec "$@"']), "sh", *command]


def _closed_ancestor(path: str) -> Path | None:
    """The outermost folder on the way that others may not enter."""
    for folder in reversed([Path(path), *Path(path).parents]):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


if __name__ == "__main__":
    separator = sys.argv.index("--")
    denied = {word for word in sys.argv[1:separator] if word != "--deny"}
    module, sys.argv = sys.argv[separator + 1], sys.argv[separator + 1 :]
    deny(denied)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
