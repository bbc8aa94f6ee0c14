"""Network namespaces for tests that must own every address. They have no names and no uplink.

A namespace is held by a descriptor and nothing else: it ends with this process, whatever becomes of the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLONE_NEWNET = 0x40000000
_SECONDS = 20.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Namespace:
    """A network namespace."""

    descriptor: int

    @property
    def path(self) -> str:
        """Where a program that inherits the descriptor finds the namespace."""
        return f"/proc/self/fd/{self.descriptor}"

    def enter(self) -> list[str]:
        """The beginning of a command that runs in here. Its starter passes the descriptor on."""
        return ["nsenter", f"--net={self.path}", "--"]

    def ip(self, *words: str, beside: tuple[Namespace, ...] = ()) -> None:
        """Run `ip WORDS` in here; ``beside`` are namespaces that the words name."""
        descriptors = [namespace.descriptor for namespace in (self, *beside)]
        subprocess.run([*self.enter(), "ip", *words], pass_fds=descriptors, check=True, timeout=_SECONDS)

    def call(self, function: Callable[[], Result]) -> Result:
        """What ``function`` returns in a thread that is in here. A socket that it makes belongs here for good."""

        def entered() -> Result:
            _demand(_libc().setns(self.descriptor, _CLONE_NEWNET))
            return function()

        return _in_thread(entered)


@contextlib.contextmanager
def network_namespace() -> Iterator[Namespace]:
    """A new namespace with a loopback interface that is up. Skips where this process may not make one."""
    if os.geteuid() != 0:
        pytest.skip("root is needed for a network namespace")

    def unshared() -> int:
        _demand(_libc().unshare(_CLONE_NEWNET))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    namespace = Namespace(_in_thread(unshared))
    try:
        namespace.ip("link", "set", "lo", "up")
        yield namespace
    finally:
        os.close(namespace.descriptor)


def _in_thread(function: Callable[[], Result]) -> Result:
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)

    # A thread of its own: it never returns to the namespace that it came from.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    assert not thread.is_alive(), "a call in a network namespace did not end"
    if failures:
        raise failures[0]
    return results[0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _demand(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
