from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from network_namespaces import Namespace, network_namespace

from mycelos.proxy.egress.address_changes import AddressChanges


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with network_namespace() as made:
        yield made


@pytest.mark.parametrize(
    "change",
    [
        "addr add 93.184.216.34/32 dev lo",
        "addr add 2606:2800:220:1::1/128 dev lo",
        "route add local 93.184.0.0/16 dev lo",
        "-6 route add local 2606:2800::/32 dev lo",
        "link set lo down",
    ],
)
def test_the_kernel_tells_of_each_change_once(namespace: Namespace, change: str) -> None:
    with namespace.call(AddressChanges.subscribe) as changes:
        assert changes.subscribed
        assert not changes.happened()
        namespace.ip(*change.split())
        assert changes.happened()
        assert not changes.happened()


def test_changes_elsewhere_are_not_told(namespace: Namespace) -> None:
    with network_namespace() as other, namespace.call(AddressChanges.subscribe) as changes:
        other.ip("addr", "add", "93.184.216.34/32", "dev", "lo")
        assert not changes.happened()


def test_more_changes_than_the_queue_holds_are_a_change(namespace: Namespace) -> None:
    with namespace.call(AddressChanges.subscribe) as changes:
        channel = changes._channel
        assert channel is not None
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(20):
            namespace.ip("addr", "add", f"93.184.216.{number}/32", "dev", "lo")
        # The queue was too small for them: the kernel tells of the overflow before anything else.
        with pytest.raises(OSError) as overflow:
            channel.recv(1, socket.MSG_PEEK)
        assert overflow.value.errno == errno.ENOBUFS
        namespace.ip("addr", "add", "93.184.217.1/32", "dev", "lo")
        assert changes.happened()
        assert not changes.happened()


class Channel:
    """A subscription that gives what a test says."""

    def __init__(self, *given: bytes | OSError) -> None:
        self._given = list(given)

    def recv(self, _size: int) -> bytes:
        if not self._given:
            raise BlockingIOError
        one = self._given.pop(0)
        if isinstance(one, OSError):
            raise one
        return one

    def close(self) -> None:
        pass


def made_of(*given: bytes | OSError) -> AddressChanges:
    return AddressChanges(Channel(*given))  # type: ignore[arg-type] # the one method of a socket that is used


def test_an_overflow_is_a_change_and_all_that_waits_is_taken() -> None:
    changes = made_of(b"one", OSError(errno.ENOBUFS, "full"), b"two")
    assert changes.happened()
    assert not changes.happened()


def test_another_error_is_not_taken_for_silence() -> None:
    with pytest.raises(OSError, match="gone"):
        made_of(b"one", OSError(errno.EBADF, "gone")).happened()


@pytest.mark.parametrize("refused", ["socket", "bind"])
def test_where_the_kernel_refuses_everything_may_have_changed_at_any_time(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_arguments: object, **_keywords: object) -> None:
        raise PermissionError(errno.EPERM, "not here")

    if refused == "socket":
        monkeypatch.setattr(socket, "socket", refuse)
    else:
        monkeypatch.setattr(socket.socket, "bind", refuse)
    changes = AddressChanges.subscribe()
    assert not changes.subscribed
    assert changes.happened()
    assert changes.happened()


def test_a_subscription_that_was_ended_trusts_nothing() -> None:
    changes = AddressChanges.subscribe()
    changes.close()
    assert changes.happened()
