from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress import guard as guard_module
from mycelos.proxy.egress.guard import LIFTABLE, Blocked, Guard, classify
from mycelos.proxy.egress.special_addresses import AddressClass
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode

MakeGuard = Callable[..., Guard]


def addresses(*texts: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address(text) for text in texts]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("1.1.1.1", AddressClass.GLOBAL),
        ("2a00:1450:4001:81b::200e", AddressClass.GLOBAL),
        ("64:ff9b::1.1.1.1", AddressClass.GLOBAL),
        ("10.1.2.3", AddressClass.PRIVATE),
        ("127.9.9.9", AddressClass.LOOPBACK),
        ("::1", AddressClass.LOOPBACK),
        ("169.254.169.254", AddressClass.LINK_LOCAL),
        ("fe80::1", AddressClass.LINK_LOCAL),
        ("100.64.0.1", AddressClass.SHARED),
        ("100.100.100.200", AddressClass.METADATA),
        ("168.63.129.16", AddressClass.METADATA),
        ("fd00:ec2::254", AddressClass.METADATA),
        ("fd12::1", AddressClass.PRIVATE),
        ("224.0.0.1", AddressClass.MULTICAST),
        ("255.255.255.255", AddressClass.RESERVED),
        ("0.0.0.0", AddressClass.RESERVED),
        ("::", AddressClass.RESERVED),
        ("4000::1", AddressClass.RESERVED),
        ("::ffff:127.0.0.1", AddressClass.TRANSITION),
        ("::ffff:1.1.1.1", AddressClass.TRANSITION),
        ("64:ff9b::10.0.0.1", AddressClass.TRANSITION),
        ("2607:f8b0::5efe:10.0.0.1", AddressClass.TRANSITION),
    ],
)
def test_an_address_is_classed_by_our_own_table(address: str, expected: AddressClass) -> None:
    assert classify(ipaddress.ip_address(address)).address_class is expected


@given(st.integers(0, 2**32 - 1))
def test_no_address_that_the_standard_library_calls_not_global_passes(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    if not address.is_global or address.is_multicast:
        assert classify(address).address_class is not AddressClass.GLOBAL


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "64:ff9b::", "2002::", "2607:f8b0:0:0:0:5efe::"]))
def test_a_form_that_carries_a_bad_ipv4_address_never_passes_and_is_never_liftable(number: int, prefix: str) -> None:
    inner = ipaddress.IPv4Address(number)
    base = int(ipaddress.IPv6Address(prefix))
    outer = ipaddress.IPv6Address(base | (number << 80 if prefix == "2002::" else number))
    if classify(inner).address_class is not AddressClass.GLOBAL:
        assert classify(outer).address_class is not AddressClass.GLOBAL
        assert classify(outer).address_class not in LIFTABLE


def test_one_bad_answer_among_good_ones_refuses_the_name(make_guard: MakeGuard) -> None:
    url = parse_url("https://example.com/")
    guard = make_guard()
    assert guard.judge_addresses(url, addresses("1.1.1.1", "2a00::1")) == tuple(addresses("1.1.1.1", "2a00::1"))
    for bad in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"):
        with pytest.raises(Blocked) as caught:
            guard.judge_addresses(url, addresses("1.1.1.1", bad))
        assert caught.value.problem.code is ProblemCode.SSRF_BLOCKED


def test_no_answer_and_a_flood_of_answers_are_refused(make_guard: MakeGuard) -> None:
    url = parse_url("https://example.com/")
    with pytest.raises(Blocked):
        make_guard().judge_addresses(url, [])
    with pytest.raises(Blocked):
        make_guard().judge_addresses(url, addresses("1.1.1.1") * 33)


def test_a_public_address_of_this_machine_is_refused(make_guard: MakeGuard) -> None:
    url = parse_url("https://example.com/")
    with pytest.raises(Blocked) as caught:
        make_guard(own=("1.1.1.1",)).judge_addresses(url, addresses("1.1.1.1"))
    assert caught.value.address_class == AddressClass.OWN
    assert make_guard().judge_addresses(url, addresses("1.1.1.1"))


@pytest.mark.parametrize("address", ["64:ff9b::1.1.1.1", "2607:f8b0::5efe:1.1.1.1"])
def test_a_form_that_carries_this_machines_public_address_is_refused_and_never_opened(
    make_guard: MakeGuard, address: str
) -> None:
    url = parse_url("https://example.com/")
    assert make_guard().judge_addresses(url, addresses(address))
    with pytest.raises(Blocked) as caught:
        make_guard({("example.com", 443): [address]}, own=("1.1.1.1",)).judge_addresses(url, addresses(address))
    assert caught.value.address_class == AddressClass.TRANSITION


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "nas", "printer.local", "db.internal", "x.localhost", "nas.home.arpa", "a.lan", "b.corp",
        "this-machine.example", "metadata.tencentyun.com", "hidden.onion",
    ],
)  # fmt: skip
def test_a_name_that_means_this_network_is_refused_before_it_is_resolved(make_guard: MakeGuard, host: str) -> None:
    with pytest.raises(Blocked):
        make_guard().judge_host(parse_url(f"http://{host}/"))


def test_names_that_only_look_internal_pass(make_guard: MakeGuard) -> None:
    for host in ("internal.example.com", "local.example", "127.0.0.1.example.com", "localhost.example.com"):
        make_guard().judge_host(parse_url(f"http://{host}/"))


def test_an_opened_host_lifts_its_own_host_and_port_only(make_guard: MakeGuard) -> None:
    guard = make_guard({("ollama.lan", 11434): ["192.168.1.9"], ("127.0.0.1", 8080): ["127.0.0.1"]})
    opened = parse_url("http://ollama.lan:11434/")
    guard.judge_host(opened)
    assert guard.judge_addresses(opened, addresses("192.168.1.9"))
    guard.judge_host(parse_url("http://127.0.0.1:8080/"))
    for other in (
        "http://ollama.lan:80/",
        "http://other.lan:11434/",
        "http://127.0.0.1:8081/",
        "http://127.0.0.2:8080/",
    ):
        with pytest.raises(Blocked):
            guard.judge_host(parse_url(other))


def test_an_opened_host_whose_answer_changed_is_refused(make_guard: MakeGuard) -> None:
    guard = make_guard({("ollama.lan", 11434): ["192.168.1.9"]})
    for changed in ("192.168.1.10", "127.0.0.1"):
        with pytest.raises(Blocked):
            guard.judge_addresses(parse_url("http://ollama.lan:11434/"), addresses("192.168.1.9", changed))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "224.0.0.1"])
def test_link_local_and_metadata_stay_refused_even_when_pinned(make_guard: MakeGuard, address: str) -> None:
    guard = make_guard({("x.lan", 80): [address]})
    with pytest.raises(Blocked):
        guard.judge_addresses(parse_url("http://x.lan/"), addresses(address))


def test_a_listener_of_mycelos_stays_refused_even_when_pinned(make_guard: MakeGuard) -> None:
    guard = make_guard({("127.0.0.1", 9100): ["127.0.0.1"]}, listeners=frozenset({9100}))
    with pytest.raises(Blocked):
        guard.judge_host(parse_url("http://127.0.0.1:9100/"))


def test_a_refusal_advises_to_open_only_what_can_be_opened(make_guard: MakeGuard) -> None:
    guard = make_guard({("x.lan", 80): ["10.0.0.1"]}, listeners=frozenset({9100}))
    for url, address, advice in (
        ("http://nas.lan/", "10.0.0.9", "MYCELOS_EGRESS_OPEN"),
        ("http://y.lan/", "169.254.169.254", "no setting opens"),
        ("http://x.lan/", "10.0.0.2", "restart Mycelos"),
    ):
        with pytest.raises(Blocked) as blocked:
            guard.judge_addresses(parse_url(url), addresses(address))
        assert advice in blocked.value.problem.next


def test_without_the_table_the_attack_succeeds(make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    url = parse_url("http://169.254.169.254/")
    with pytest.raises(Blocked):
        make_guard().judge_host(url)
    monkeypatch.setattr(guard_module, "SPECIAL", ())
    make_guard().judge_host(url)


@pytest.mark.parametrize(
    "address",
    [
        # AWS: instances, ECS tasks, EKS pod identities, name server
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.253",
        "fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::253",
        "fd20:ce::254", "168.63.129.16", "100.100.100.200", "fd00:100::100:200",  # Google, Azure, Alibaba
        "192.0.0.192", "fd00:c1::a9fe:a9fe", "161.26.0.10", "166.9.0.1",  # Oracle, IBM
        "169.254.0.23", "100.88.222.5", "169.254.42.42", "fd00:42::42",  # Tencent, Scaleway
        "192.80.8.124", "fd00:a9fe:a9fe::1", "fe80::a9fe:a9fe",  # Equinix, Akamai, OpenStack
        "100.80.80.80", "100.96.0.96",  # UCloud, Volcengine
    ],
)  # fmt: skip
def test_no_setting_opens_the_platform_addresses_of_a_cloud(make_guard: MakeGuard, address: str) -> None:
    guard = make_guard({("x.lan", 80): [address]})
    with pytest.raises(Blocked) as blocked:
        guard.judge_addresses(parse_url("http://x.lan/"), addresses(address))
    assert "no setting opens" in blocked.value.problem.next


@pytest.mark.parametrize(
    "name",
    [
        "metadata", "instance-data", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal",
        "metadata.azure.internal", "metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com",
        "api.metadata.cloud.ibm.com",
    ],
)  # fmt: skip
def test_the_platform_names_of_a_cloud_are_refused_before_they_are_resolved(make_guard: MakeGuard, name: str) -> None:
    with pytest.raises(Blocked):
        make_guard().judge_host(parse_url(f"http://{name}/"))
