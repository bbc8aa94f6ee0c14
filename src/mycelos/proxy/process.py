"""What the proxy's process does to itself before it touches a secret, and how it speaks of errors."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Final

from mycelos.serving.cause import named

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

_PR_SET_DUMPABLE: Final = 4
_SECRETS: Final = (
    "MYCELOS_MASTER_KEY",
    "MYCELOS_MASTER_KEY_FILE",
    "MYCELOS_PROXY_TOKEN",
    "MYCELOS_PROXY_TOKEN_FILE",
    "MYCELOS_PASSWORD",
    "MYCELOS_PASSWORD_HASH",
)
_log = logging.getLogger(__name__)


def harden() -> None:
    """No core dump, no reading by other processes of this user, files for the owner only.

    Raises:
        OSError: the kernel refused.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    # prctl(2): also takes /proc/PID/mem and environ from other processes of the same user.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def forget_secrets(environ: MutableMapping[str, str]) -> None:
    """Take the secrets out of the environment once they are read: nothing that is started later inherits them."""
    for name in _SECRETS:
        environ.pop(name, None)


def quiet_errors() -> None:
    """Log to stderr; of an error that nobody foresaw, its type and never its text, which could quote a secret."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # asyncio's own debug and error lines hold the representation of whatever failed.
    logging.getLogger("asyncio").disabled = True
    sys.excepthook = _name_error


def quiet_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The same for what fails inside the event loop."""
    loop.set_exception_handler(_name_loop_error)


def _name_error(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    _log.critical("stopped by %s", named(error))


def _name_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None:
        _log.error("the event loop met an error")
    else:
        _log.error("the event loop met %s", named(error))
