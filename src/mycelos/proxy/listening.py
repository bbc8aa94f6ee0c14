"""Where the proxy listens for the gateway when it is not handed over by descriptor."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.environment import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNIX: Final = "unix:"
_BACKLOG: Final = 256
CONTAINER_MARKERS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into each container."""


def bind(text: str) -> socket.socket:
    """A listening socket for ``unix:/path`` (mode 0600, a stale one is replaced) or ``address:port``.

    Raises:
        ConfigurationError: the text is neither, or cannot be bound.
    """
    try:
        return _bind_unix(Path(text[len(_UNIX) :])) if text.startswith(_UNIX) else _bind_tcp(text)
    except OSError:
        message = f"cannot listen on {text}; check that nothing else does and that this user may"
        raise ConfigurationError(message) from None


def tcp_port(text: str | None) -> int | None:
    """The port of an ``address:port``, or None for a unix path or nothing."""
    return None if text is None or text.startswith(_UNIX) else _split(text)[1]


def is_in_container(text: str | None, markers: Sequence[Path] = CONTAINER_MARKERS) -> bool:
    """Whether the proxy serves a gateway in another container: it listens beyond loopback, and a marker is there."""
    if text is None or text.startswith(_UNIX) or _split(text)[0].is_loopback:
        return False
    return any(marker.exists() for marker in markers)


def _bind_unix(path: Path) -> socket.socket:
    if not path.is_absolute():
        message = "MYCELOS_PROXY_LISTEN: unix: needs an absolute path"
        raise ConfigurationError(message)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if path.is_socket():
                path.unlink()
        # The process's umask makes it 0600.
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_tcp(text: str) -> socket.socket:
    address, port = _split(text)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _split(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        message = f"MYCELOS_PROXY_LISTEN must be address:port or unix:/path, not {text!r}"
        raise ConfigurationError(message)
    return address, int(port)
