"""What an attack is: one way out that a confined process tries, what it is aimed at, and what came of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

import msgspec
from seccompy.syscalls import syscall_nr

from mycelos.sandbox.kernel import system_call


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


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which attacks a confined process is to try, by name, and on what."""

    names: tuple[str, ...]
    targets: Targets


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


def call(name: str, *arguments: object) -> int:
    """A system call by its name."""
    return system_call(syscall_nr(name), *arguments)


def refused(number: int) -> NoReturn:
    """What the kernel would say: the attack did not get what it wanted."""
    raise OSError(number, os.strerror(number))


def reaches(name: str, *arguments: object, reached: tuple[int, ...]) -> Callable[[Targets], None]:
    """Attack by a call whose arguments are wrong: one of the ``reached`` errors shows that it was let through."""

    def attempt(_: Targets) -> None:
        try:
            os.close(call(name, *arguments))
        except OSError as error:
            if error.errno not in reached:
                raise

    return attempt


def first_that_works(tries: Iterable[Callable[[], object]]) -> None:
    """Try one way after another; the last error is raised when none gives in."""
    last: OSError = FileNotFoundError(errno.ENOENT, "nothing to try")
    for attempt in tries:
        try:
            attempt()
        except OSError as error:
            last = error
        else:
            return
    raise last


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
