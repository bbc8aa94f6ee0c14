"""Where the command line takes a secret from: a hidden prompt, standard input or a file. Never from its arguments."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import Final

from mycelos.cli.operator_command import wrong_usage
from mycelos.cli.output import complain
from mycelos.wire.operator import SECRET_LIMIT, check_secret

_READ: Final = SECRET_LIMIT + 3
"""A byte more than the longest secret with the line break behind it: what is longer is seen to be."""


def read_secret(*, stdin: bool, from_file: Path | None, prompt: str) -> str:
    """The secret. One line break at its end, which editors and ``echo`` add, is taken away.

    Raises:
        CommandError: two sources, no terminal to ask at, or a secret that cannot be one.
    """
    if stdin and from_file is not None:
        raise wrong_usage(detail="--stdin and --from-file exclude each other; keep one")
    if from_file is not None:
        secret = _decode(_read_file(from_file))
    elif stdin:
        secret = _decode(sys.stdin.buffer.read(_READ))
    elif not sys.stdin.isatty():
        raise wrong_usage(detail="there is no terminal to ask for the secret at; use --stdin or --from-file FILE")
    else:
        secret = getpass.getpass(prompt)
    try:
        check_secret(secret)
    except ValueError as error:
        raise wrong_usage(detail=f"{error}.") from None
    return secret


def _read_file(path: Path) -> bytes:
    try:
        with os.fdopen(_open_file(path), "rb") as stream:
            return stream.read(_READ)
    except OSError as error:
        raise wrong_usage(detail=f"--from-file: {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise wrong_usage(detail="--from-file: the name holds a NUL, which no file's name can") from None


def _open_file(path: Path) -> int:
    # Not blocking: the opening of a pipe that nobody writes to would wait without end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise wrong_usage(
            detail=f"--from-file: {path} is {_kind(mode)}, not a file",
            next_step="Name a file, or send the secret to --stdin.",
        )
    if mode & 0o077:
        complain(f"--from-file: other users may open {path}; take that away with: chmod 600, or remove it")
    return descriptor


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Cut in the middle of a character: it is the length that is wrong with it.
        if len(data) < _READ:
            raise wrong_usage(detail="secret: it is not valid UTF-8 text") from None
        text = data.decode("utf-8", "replace")
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    return text
