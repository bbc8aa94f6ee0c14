"""What stopped a server: the error itself, where a group of tasks has wrapped it, named without its text."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def first_cause(error: BaseException) -> BaseException:
    """The first error of a group that is none itself; an error that is no group, as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def without_groups() -> Iterator[None]:
    """In the place of a group of errors, the first error in it is raised: its type says who can answer it.

    Raises:
        BaseException: what the block raised, which is no group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_cause(group) from None


def named(error: BaseException) -> str:
    """Type, system error and place of the first cause. Nothing of an error's text, which may quote what was sent."""
    cause = first_cause(error)
    number = errno.errorcode.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
    return f"{type(cause).__name__} {number}".rstrip() + f" at {_place(cause)}"


def _place(error: BaseException) -> str:
    """The module and line where it was raised."""
    place, traceback = "an unknown place", error.__traceback__
    while traceback is not None:
        place = f"{traceback.tb_frame.f_globals.get('__name__')}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
