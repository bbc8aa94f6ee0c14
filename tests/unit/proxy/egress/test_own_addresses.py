from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.wire.problems import ProblemCode, Refusal

FIB = """Main:
  +-- 0.0.0.0/0 3 0 5
Local:
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
        |-- 198.51.7.9
           /32 host LOCAL
"""


def make_tables(folder: Path, fib: str = FIB) -> Path:
    (folder / "fib_trie").write_text(fib)
    (folder / "if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80     eth0\n")
    return folder


def test_the_kernels_tables_give_the_addresses_of_all_interfaces(tmp_path: Path) -> None:
    own = OwnAddresses(make_tables(tmp_path))
    assert own.current() == {
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("198.51.7.9"),
        ipaddress.ip_address("2001:db8::1"),
    }


def test_the_tables_are_read_again_when_they_may_have_changed(tmp_path: Path) -> None:
    now = 100.0
    own = OwnAddresses(make_tables(tmp_path), lambda: now)
    before = own.current()
    make_tables(tmp_path, FIB.replace("198.51.7.9", "198.51.7.10"))
    assert own.current() == before
    now += 3
    assert ipaddress.ip_address("198.51.7.10") in own.current()


def test_tables_that_cannot_be_read_are_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        OwnAddresses(tmp_path).current()
    assert caught.value.problem.code is ProblemCode.INTERNAL


def test_this_machines_loopback_address_is_among_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert ipaddress.ip_address(probe.getsockname()[0]) in OwnAddresses().current()
