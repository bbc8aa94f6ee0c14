"""A rotation of the master key that is killed, or refused by the disk, at one point.

`rotation_victim.py OUT HOW BYTES`: for each point it makes a vault below OUT, forks, and lets the child reach that
point and no further. A point is a call of the operating system that changes a file, a statement of SQLite, or a length
that no file may grow beyond (setrlimit), each BYTES longer than the last, which cuts a write of SQLite's own in two.
It ends when a child gets through, and prints one JSON line a child. Nothing of this is in Mycelos: its real writes are
counted.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.key_rotation import SIGNED
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.vault.keys import create_master_key, load_master_key
from mycelos.proxy.vault.rotation import MasterKeyRotation
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule
from mycelos.wire.keys import LONG_LIVED_KEYS
from mycelos.wire.problems import Refusal

SECRETS = {f"service-{name}": f"secret-of-{name}-0123456789" for name in "abcde"}
CALLS = ("open", "fchmod", "fsync", "link", "unlink", "replace")


def binding(host: str = "api.example.com") -> Binding:
    """Where a secret may go."""
    rule = ResponseRule(set_cookie="drop", location_query="redact")
    return Binding(
        v=1, scheme="https", host=host, port=443, methods=(Method.GET,), path=("v1",), query="any", inject=Bearer(),
        response=rule, confirm=False, quota=None,
    )  # fmt: skip


async def furnish(layout: DataLayout) -> None:
    """A key, credentials, a rule, two settings and the long-lived keys."""
    create_master_key(layout)
    vault = Vault.open(layout, load_master_key(layout, None))
    try:
        for service, secret in SECRETS.items():
            await vault.store(service, service, (binding(),), secret)
        for name in LONG_LIVED_KEYS:
            vault.wrapped_key(name).destroy()
        rules = EgressRules.open(vault.database, vault.keys)
        await rules.add(Method.GET, "https", "docs.example", 443)
        await rules.set_web(enabled=False)
        lockdown = Lockdown.open(vault.database, vault.keys)
        lockdown.stop()
        await lockdown.keep()
    finally:
        vault.close()


class Points:
    """Counts what is about to happen, and acts when ``at`` is reached."""

    def __init__(self, act: Callable[[], None], at: int, tell: Callable[[str], None]) -> None:
        self.act = act
        self.at = at
        self.tell = tell
        self.count = 0
        self.reached = ""
        self.is_on = False

    def pass_by(self, what: str) -> None:
        """One point; its act may not return."""
        if not self.is_on:
            return
        self.count += 1
        if self.count == self.at:
            self.reached = what
            self.tell(what)
        if self.count >= self.at:
            self.act()

    def watch_calls(self) -> None:
        """Count calls of the operating system that change a file, before each."""
        for name in CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def watch_statements(self) -> None:
        """Count SQLite's statements, before each."""
        connect = sqlite3.connect

        def watched(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **keywords)
            connection.set_trace_callback(lambda statement: self.pass_by(f"SQL {statement[:60]}"))
            return connection

        sqlite3.connect = sqlite3.dbapi2.connect = watched

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                self.pass_by(f"os.{name}")
            return call(*arguments, **keywords)

        return watched


def die() -> None:
    """kill -9 of this process, from inside."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int) -> Callable[[], None]:
    """A disk that answers with this error."""

    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def child(folder: Path, how: str, at: int, growth: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Rotate, up to point ``at``; what is said of it where the process lives on."""
    layout = DataLayout(folder)
    points = Points(die if how == "kill" else refuse(getattr(errno, how, errno.EIO)), at, tell)
    if how in {"kill", "ENOSPC", "EROFS"}:
        points.watch_calls()
    if how == "kill":
        points.watch_statements()
    vault = Vault.open(layout, load_master_key(layout, None))
    before = vault.keys.kid
    rotation = MasterKeyRotation(vault, layout, SIGNED)
    if how in {"cut", "short"}:
        # The interpreter ignores the signal, so that a write fails; by default it ends the process in mid-write.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if how == "cut" else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (at * growth, resource.RLIM_INFINITY))
    points.is_on = True
    said: dict[str, Any] = {"refused": "", "next": "", "unfinished": False}
    try:
        done = vault.database.alone_now(rotation.run)
        said["unfinished"] = done.is_unfinished
    except Refusal as refusal:
        said |= {"refused": refusal.problem.detail, "next": refusal.problem.next}
    points.is_on = False
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    opened = {credential.service: _reveal(vault, credential) for credential in vault.list()}
    changed = vault.keys.kid != before
    # What the disk refused, it does a moment later.
    again = vault.database.alone_now(rotation.run)
    vault.close()
    is_through = not points.reached and not said["refused"] and not said["unfinished"]
    return {**said, "opened": opened == SECRETS, "changed": changed, "again": again.kid, "through": is_through,
            "reached": points.reached}  # fmt: skip


def _tell(descriptor: int, what: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(what).encode() + b"\n")


def _tell_reached(descriptor: int, what: str) -> None:
    _tell(descriptor, {"reached": what})


def _reveal(vault: Vault, credential: Any) -> str:
    with vault.open_secret(credential) as secret:
        return secret.reveal().decode()


def main(out: Path, how: str, growth: int) -> None:
    """One child a point, until one gets through."""
    import asyncio

    template = out / "template"
    # The template is made in a process of its own: a fork after threads is none.
    if os.fork() == 0:
        template.mkdir(mode=0o700)
        asyncio.run(furnish(DataLayout(template)))
        os._exit(0)
    os.wait()
    for at in range(1, 400):
        folder = out / str(at)
        shutil.copytree(template, folder)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _tell(writing, child(folder, how, at, growth, partial(_tell_reached, writing)))
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            told = [json.loads(line) for line in stream]
        _, status = os.waitpid(pid, 0)
        line = {"at": at, "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
                **{name: value for part in told for name, value in part.items()}}  # fmt: skip
        print(json.dumps(line), flush=True)
        if line.get("through") or line["code"] == 1:
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
