"""Where the command line takes a secret from: a hidden prompt, standard input or a file. Never from its arguments."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from mycelos.cli.operator_command import wrong_usage
from mycelos.wire.operator import SECRET_LIMIT, check_secret


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
        secret = _decode(sys.stdin.buffer.read(SECRET_LIMIT + 3))
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
        with path.open("rb") as stream:
            return stream.read(SECRET_LIMIT + 3)
    except OSError as error:
        raise wrong_usage(detail=f"--from-file: {path} cannot be read ({error.strerror})") from None


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise wrong_usage(detail="secret: it is not valid UTF-8 text") from None
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    return text
