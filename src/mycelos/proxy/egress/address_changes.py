"""Has an address or route of this machine changed? The kernel tells over rtnetlink(7), and is asked without waiting."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

# RTMGRP_* of linux/rtnetlink.h. Routes too: the kernel tells of a new IPv4 address before its local route stands,
# and a local route makes an address this machine's own without any interface having it.
_LINK: Final = 0x1
_IPV4_ADDRESS: Final = 0x10
_IPV4_ROUTE: Final = 0x40
_IPV6_ADDRESS: Final = 0x100
_IPV6_ROUTE: Final = 0x400
_GROUPS: Final = _LINK | _IPV4_ADDRESS | _IPV4_ROUTE | _IPV6_ADDRESS | _IPV6_ROUTE
_MESSAGE_BYTES: Final = 65536


class AddressChanges:
    """A subscription. Where the kernel gives none, each question is answered with yes: nothing old is trusted."""

    def __init__(self, channel: socket.socket | None) -> None:
        self._channel = channel

    @classmethod
    def subscribe(cls) -> Self:
        """Subscribe in the network namespace of the calling thread; some sandboxes and kernels refuse that."""
        try:
            channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        except OSError:
            return cls(None)
        try:
            channel.setblocking(False)
            channel.bind((0, _GROUPS))
        except OSError:
            channel.close()
            return cls(None)
        return cls(channel)

    @property
    def subscribed(self) -> bool:
        """Whether the kernel tells of changes."""
        return self._channel is not None

    def happened(self) -> bool:
        """Whether anything may have changed since the last call.

        Raises:
            OSError: the subscription fails; nothing is known.
        """
        if self._channel is None:
            return True
        changed = False
        while True:
            try:
                self._channel.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return changed
            except OSError as error:
                # More changes than the queue holds: some of the news is lost, which is news enough.
                if error.errno != errno.ENOBUFS:
                    raise
            changed = True

    def close(self) -> None:
        """End the subscription; from here on the answer is yes."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> Self:
        """Nothing more than `subscribe` did."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the subscription."""
        self.close()
