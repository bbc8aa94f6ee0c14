"""The listening sockets of the two pages. They outlive the processes that serve on them."""

from __future__ import annotations

import errno
import socket
from typing import Final

_BACKLOG: Final = 256


class ListenerError(Exception):
    """A port cannot be listened on. The text names the variable and the next step."""


def open_listener(variable: str, address: str, port: int) -> socket.socket:
    """Bind and listen; the socket is not inheritable until it is handed over by number.

    Args:
        variable: the environment variable that names the port, for the message.
        address: an IP address, or ``localhost`` for 127.0.0.1.
        port: 1 to 65535.

    Raises:
        ListenerError: the port is busy or not permitted, or the address is not one of this machine.
    """
    host = "127.0.0.1" if address == "localhost" else address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait until the kernel has forgotten the old connections (TIME-WAIT, RFC 9293, 3.6.1).
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenerError(_explain(error.errno, variable, host, port)) from None
    return listener


def reserve_other_loopback(variable: str, port: int) -> socket.socket | None:
    """Hold ``port`` on ``::1`` without listening: connecting there is refused, and browsers go on to 127.0.0.1.

    Links say ``localhost``, which may mean ``::1`` first. Whoever listened there would be given the one-time code.

    Returns:
        The socket, to be kept open; None where the machine has no IPv6 loopback, so that nobody can listen there.

    Raises:
        ListenerError: something listens there already.
    """
    try:
        held = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        # Without SO_REUSEADDR: with it on both sides, Linux would let another program share the port.
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind(("::1", port))
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise ListenerError(_explain(error.errno, variable, "::1", port)) from None
    return held


def _explain(number: int | None, variable: str, host: str, port: int) -> str:
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what listens there or set {variable} to a free port"
    if number == errno.EACCES:
        return f"port {port} on {host} is not permitted to this user; set {variable} to a port from 1024 up"
    if number == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; set MYCELOS_BIND to one that is, or to 127.0.0.1"
    return f"cannot listen on {host}:{port} ({errno.errorcode.get(number or 0, 'unknown error')}); check {variable}"
