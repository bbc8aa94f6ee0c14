from __future__ import annotations

import ipaddress

import pytest

from mycelos.proxy.egress.special_addresses import SPECIAL, AddressClass, embedded_v4


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("::ffff:10.0.0.1", ["10.0.0.1"]),
        ("::10.0.0.1", ["10.0.0.1"]),
        ("::ffff:0:10.0.0.1", ["10.0.0.1"]),
        ("64:ff9b::10.0.0.1", ["10.0.0.1"]),
        ("64:ff9b:1::10.0.0.1", ["10.0.0.1", "0.0.0.0"]),
        ("64:ff9b:1:a9fe:a9:fe00::", ["0.0.0.0", "169.254.169.254"]),
        ("2002:a00:1::", ["10.0.0.1"]),
        ("2001:0:a00:1::f5ff:fffe", ["10.0.0.1", "10.0.0.1"]),
        ("2607:f8b0::5efe:127.0.0.1", ["127.0.0.1"]),
        ("2607:f8b0::200:5efe:127.0.0.1", ["127.0.0.1"]),
        ("2a00::1", []),
        ("::1", []),
        ("::", []),
    ],
)
def test_each_ipv4_address_inside_an_ipv6_address_is_found(address: str, inner: list[str]) -> None:
    assert list(map(str, embedded_v4(ipaddress.IPv6Address(address)))) == inner


def test_each_prefix_stands_once_and_the_narrowest_comes_before_what_holds_it() -> None:
    networks = [network for network, _, _ in SPECIAL]
    assert len(set(networks)) == len(networks)
    for index, network in enumerate(networks):
        for earlier in networks[:index]:
            assert earlier.version != network.version or not network.subnet_of(earlier), (earlier, network)  # type: ignore[arg-type]


def test_what_the_standard_library_calls_not_global_is_in_the_table() -> None:
    for version, bits in ((4, 32), (6, 128)):
        for network, address_class, _ in SPECIAL:
            if network.version == version and address_class is AddressClass.PRIVATE:
                first = network.network_address
                assert not first.is_global
                assert network.prefixlen <= bits
