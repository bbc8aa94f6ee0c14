from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_namespaces import Namespace, network_namespace

from mycelos.proxy.egress.address_changes import AddressChanges
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.wire.problems import ProblemCode, Refusal

FIB = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 9.9.9.0
        /32 host LOCAL
        /24 link UNICAST
     |-- 8.8.8.0
        /24 link UNICAST
        /32 host LOCAL
Local:
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
        |-- 198.51.7.9
           /32 host LOCAL
Id 100:
  |-- 0.0.0.0
     /0 host LOCAL
"""
NOWHERE = "0" * 32


def route(destination: str, length: int, flags: str) -> str:
    number = int(ipaddress.IPv6Address(destination))
    return f"{number:032x} {length:02x} {NOWHERE} 00 {NOWHERE} 00000100 00000001 00000000 {flags}       eth0\n"


def make_tables(folder: Path, fib: str = FIB) -> Path:
    (folder / "fib_trie").write_text(fib)
    (folder / "if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80     eth0\n")
    routes = [("2620:fe::fe", 128, "80200001"), ("2606::", 16, "80000001"), ("2a00::", 12, "00000001")]
    (folder / "ipv6_route").write_text("".join(route(*one) for one in [*routes, ("::", 0, "80000001")]))
    return folder


def holds(own: OwnAddresses, address: str) -> bool:
    return own.holds(ipaddress.ip_address(address))


class ToldChanges(AddressChanges):
    """Changes as a test tells them."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: bool | OSError = False

    def happened(self) -> bool:
        if isinstance(self.told, OSError):
            raise self.told
        return self.told


def test_the_kernels_tables_give_the_addresses_of_all_interfaces(tmp_path: Path) -> None:
    own = OwnAddresses(make_tables(tmp_path))
    for address in ("127.0.0.1", "198.51.7.9", "9.9.9.0", "8.8.8.0", "2001:db8::1", "2620:fe::fe"):
        assert holds(own, address), address
    for address in ("198.51.7.10", "9.9.9.1", "8.8.8.1", "2001:db8::2", "2a00::1", "1.1.1.1"):
        assert not holds(own, address), address


def test_a_network_that_is_routed_to_this_machine_is_its_own(tmp_path: Path) -> None:
    own = OwnAddresses(make_tables(tmp_path))
    assert holds(own, "127.9.9.9")
    assert holds(own, "2606:1234::1")


def test_a_route_for_everything_makes_not_everything_ones_own(tmp_path: Path) -> None:
    """A transparent proxy has such a route in a table of its own."""
    assert not holds(OwnAddresses(make_tables(tmp_path)), "1.1.1.1")
    assert not holds(OwnAddresses(make_tables(tmp_path)), "2400::1")


def test_a_machine_without_ipv6_has_addresses_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB)
    assert holds(OwnAddresses(tmp_path), "198.51.7.9")


def test_the_tables_are_read_again_when_the_kernel_tells_of_a_change_and_only_then(tmp_path: Path) -> None:
    changes = ToldChanges()
    own = OwnAddresses(make_tables(tmp_path), changes)
    assert not holds(own, "198.51.7.10")
    make_tables(tmp_path, FIB.replace("198.51.7.9", "198.51.7.10"))
    assert not holds(own, "198.51.7.10")
    changes.told = True
    assert holds(own, "198.51.7.10")


def test_without_a_subscription_the_tables_are_read_at_each_question(tmp_path: Path) -> None:
    own = OwnAddresses(make_tables(tmp_path))
    assert not holds(own, "198.51.7.10")
    make_tables(tmp_path, FIB.replace("198.51.7.9", "198.51.7.10"))
    assert holds(own, "198.51.7.10")


@pytest.mark.parametrize("table", ["fib_trie", "if_inet6", "ipv6_route"])
def test_tables_that_cannot_be_understood_are_a_refusal(tmp_path: Path, table: str) -> None:
    make_tables(tmp_path)
    (tmp_path / table).write_text("|-- nowhere\n /32 host LOCAL\n")
    with pytest.raises(Refusal) as caught:
        holds(OwnAddresses(tmp_path), "1.1.1.1")
    assert caught.value.problem.code is ProblemCode.INTERNAL


def test_tables_that_cannot_be_read_are_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        holds(OwnAddresses(tmp_path), "1.1.1.1")
    assert caught.value.problem.code is ProblemCode.INTERNAL


def test_a_subscription_that_fails_is_a_refusal_and_nothing_old_is_trusted_after_it(tmp_path: Path) -> None:
    changes = ToldChanges()
    own = OwnAddresses(make_tables(tmp_path), changes)
    assert not holds(own, "198.51.7.10")
    changes.told = OSError(errno.EBADF, "gone")
    with pytest.raises(Refusal) as caught:
        holds(own, "1.1.1.1")
    assert "gone" not in caught.value.problem.detail
    # The news that were lost with the error may have been this.
    make_tables(tmp_path, FIB.replace("198.51.7.9", "198.51.7.10"))
    changes.told = False
    assert holds(own, "198.51.7.10")


def test_this_machines_loopback_address_is_among_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert OwnAddresses().holds(ipaddress.ip_address(probe.getsockname()[0]))


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with network_namespace() as made:
        yield made


@pytest.mark.parametrize(
    ("change", "address"),
    [
        ("addr add 93.184.216.34/32 dev lo", "93.184.216.34"),
        ("addr add 2606:2800:220:1::1/128 dev lo", "2606:2800:220:1::1"),
        ("route add local 93.184.0.0/16 dev lo", "93.184.216.34"),
        ("-6 route add local 2606:2800::/32 dev lo", "2606:2800:220:1::1"),
    ],
)
def test_an_address_that_the_machine_got_a_moment_ago_is_its_own(
    namespace: Namespace, change: str, address: str
) -> None:
    with namespace.call(AddressChanges.subscribe) as changes:
        assert changes.subscribed
        own = OwnAddresses(Path("/proc/thread-self/net"), changes)
        assert not namespace.call(lambda: holds(own, address))
        namespace.ip(*change.split())
        assert namespace.call(lambda: holds(own, address))
        namespace.ip(*change.replace(" add ", " del ", 1).split())
        assert not namespace.call(lambda: holds(own, address))


def test_a_reading_that_is_trusted_for_a_while_would_miss_it(namespace: Namespace) -> None:
    """The twin of the test before: deaf to the kernel, the new address is taken for somebody else's."""
    own = OwnAddresses(Path("/proc/thread-self/net"), ToldChanges())
    assert not namespace.call(lambda: holds(own, "93.184.216.34"))
    namespace.ip("addr", "add", "93.184.216.34/32", "dev", "lo")
    assert not namespace.call(lambda: holds(own, "93.184.216.34"))
