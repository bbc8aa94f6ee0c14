"""The table against the registries themselves, read here a second time and in another way."""

from __future__ import annotations

import csv
import importlib.util
import ipaddress
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.address_table import REGISTRIES, ROWS
from mycelos.proxy.egress.guard import classify
from mycelos.proxy.egress.special_addresses import AddressClass, embedded_v4

ROOT = Path(__file__).resolve().parents[4]
FOLDER = ROOT / "scripts" / "registries"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_registries() -> dict[Network, bool]:
    """Each block of both registries, and whether it is affirmed to be globally reachable."""
    found: dict[Network, bool] = {}
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for record in csv.DictReader(file):
                for block in record["Address Block"].split(","):
                    found[ipaddress.ip_network(block.split()[0])] = record["Globally Reachable"].startswith("True")
    return found


REGISTRY = read_registries()
ADDITIONS = [
    ipaddress.ip_network(addition["prefix"])
    for addition in tomllib.loads((FOLDER / "additions.toml").read_text("utf-8"))["addition"]
]
INTERNET_V6 = ipaddress.ip_network("2000::/3")
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def holding(address: Address, networks: list[Network]) -> list[Network]:
    return [network for network in networks if network.version == address.version and address in network]


def near(network: Network) -> st.SearchStrategy[Address]:
    """Addresses in the block, on its borders and just outside."""
    kind = type(network.network_address)
    first, last = int(network.network_address), int(network.broadcast_address)
    top = 2**network.max_prefixlen - 1
    borders = st.sampled_from([max(first - 1, 0), first, last, min(last + 1, top)])
    return st.one_of(borders, st.integers(first, last)).map(kind)


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
    st.integers(int(INTERNET_V6[0]), int(INTERNET_V6[-1])).map(ipaddress.IPv6Address),
    st.sampled_from([*REGISTRY, *ADDITIONS]).flatmap(near),
)


@given(ADDRESSES)
def test_no_address_is_global_that_the_registries_do_not_affirm(address: Address) -> None:
    blocks = holding(address, list(REGISTRY))
    if blocks and not REGISTRY[max(blocks, key=lambda block: block.prefixlen)]:
        assert classify(address).address_class is not AddressClass.GLOBAL
    if holding(address, ADDITIONS):
        assert classify(address).address_class is not AddressClass.GLOBAL


@given(ADDRESSES)
def test_no_address_is_refused_without_need(address: Address) -> None:
    """Where no refused block and no addition holds it, and this Python agrees, an address of the internet is global."""
    if isinstance(address, ipaddress.IPv6Address):
        if address not in INTERNET_V6 and address not in NAT64:
            return
        if any(classify(inner).address_class is not AddressClass.GLOBAL for inner in embedded_v4(address)):
            return
    refused = [block for block, reachable in REGISTRY.items() if not reachable]
    if address.is_global and not holding(address, refused) and not holding(address, ADDITIONS):
        assert classify(address).address_class is AddressClass.GLOBAL


def test_what_is_reachable_by_the_registries_and_refused_here_is_this_and_no_more() -> None:
    """Inside a refused block, or anycast that the network at hand answers (additions.toml says so)."""
    strict = {
        str(block)
        for block, reachable in REGISTRY.items()
        if reachable and classify(block.network_address).address_class is not AddressClass.GLOBAL
    }
    # The first address of the NAT64 prefix carries 0.0.0.0; the next test has the others.
    assert strict == {
        "64:ff9b::/96",
        "192.0.0.9/32", "192.0.0.10/32",
        "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:3::/32", "2001:4:112::/48",
        "2001:20::/28", "2001:30::/28",
        "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24", "2620:4f:8000::/48",
    }  # fmt: skip


def test_translation_to_ipv4_is_judged_by_the_address_inside() -> None:
    for inner, expected in (("1.1.1.1", AddressClass.GLOBAL), ("10.0.0.1", AddressClass.TRANSITION)):
        assert classify(ipaddress.ip_address(f"64:ff9b::{inner}")).address_class is expected


def test_each_row_has_a_class_that_is_refused() -> None:
    assert {AddressClass(row[1]) for row in ROWS}.isdisjoint({AddressClass.GLOBAL, AddressClass.OWN})


def test_the_table_tells_how_old_its_registries_are() -> None:
    assert len(REGISTRIES) == 2
    assert all(len(date) == len("2025-10-09") and date >= "2025-10-09" for date in REGISTRIES.values())


@pytest.fixture
def generator() -> ModuleType:
    """scripts/generate_address_table.py as a module."""
    spec = importlib.util.spec_from_file_location("generate_address_table", ROOT / "scripts/generate_address_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks its own module up.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


@pytest.fixture
def copy_of_registries(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "registries"))


def test_the_committed_table_is_what_the_generator_writes(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0


def test_a_table_that_was_edited_is_found_and_written_anew(
    generator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "address_table.py"
    table.write_text(generator.TABLE.read_text("utf-8").replace('    ("10.0.0.0/8"', '    ("10.0.0.0/9"'), "utf-8")
    assert generator.main(["--check"], table=table) == 1
    assert "make address-table" in capsys.readouterr().out
    assert generator.main([], table=table) == 0
    assert table.read_bytes() == generator.TABLE.read_bytes()
    assert generator.main(["--force"], table=table) == 2


Change = Callable[[Path], object]


def rewrite(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return change


@pytest.mark.parametrize(
    "change",
    [
        rewrite("iana-ipv4-special-registry-1.csv", "10.0.0.0/8", "10.0.0.0/9"),
        rewrite("classes.toml", "10.0.0.0/8", "11.0.0.0/8"),
        rewrite("classes.toml", "private =", "global ="),
        rewrite("additions.toml", 'class = "metadata"', 'class = "own"'),
        rewrite("additions.toml", "168.63.129.16/32", "10.0.0.0/8"),
        rewrite("additions.toml", "source =", "origin ="),
    ],
)
def test_files_that_do_not_fit_together_write_nothing(
    generator: ModuleType, copy_of_registries: Path, tmp_path: Path, change: Change
) -> None:
    change(copy_of_registries)
    table = tmp_path / "address_table.py"
    assert generator.main([], copy_of_registries, table) == 1
    assert not table.exists()


def test_a_reachability_that_nobody_foresaw_is_refused(generator: ModuleType, tmp_path: Path) -> None:
    content = b"Address Block,Name,RFC,Globally Reachable\r\n11.0.0.0/8,New,[RFC1],Perhaps\r\n"
    (tmp_path / "new.csv").write_bytes(content)
    digest = generator.hashlib.sha256(content).hexdigest()
    with pytest.raises(generator.RegistryError):
        list(generator.read_registry(tmp_path, "new.csv", digest, {}))


def test_a_new_row_is_refused_and_nothing_opens_it(generator: ModuleType, tmp_path: Path) -> None:
    content = (
        b'Address Block,Name,RFC,Globally Reachable\r\n"11.0.0.0/8, 12.0.0.0/8 [7]",New,"[RFC1]\n [RFC2]",False [7]\r\n'
    )
    (tmp_path / "new.csv").write_bytes(content)
    digest = generator.hashlib.sha256(content).hexdigest()
    rows = list(generator.read_registry(tmp_path, "new.csv", digest, {}))
    assert [(row.prefix, row.address_class, row.what) for row in rows] == [
        ("11.0.0.0/8", "reserved", "New, RFC 1, RFC 2"),
        ("12.0.0.0/8", "reserved", "New, RFC 1, RFC 2"),
    ]
