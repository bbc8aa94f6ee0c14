from __future__ import annotations

import pytest

from mycelos.gateway.identity.lockout import Lockout


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lockout(clock: Clock) -> Lockout:
    return Lockout(clock)


def fail(lockout: Lockout, client: str, times: int) -> None:
    for _ in range(times):
        lockout.record_failure(client)


def test_four_failures_lock_nobody(lockout: Lockout) -> None:
    fail(lockout, "192.0.2.1", 4)
    assert lockout.seconds_left("192.0.2.1") == 0


def test_the_fifth_locks_and_each_further_one_doubles(lockout: Lockout, clock: Clock) -> None:
    fail(lockout, "192.0.2.1", 5)
    waits = [lockout.seconds_left("192.0.2.1")]
    for _ in range(8):
        clock.now += waits[-1]
        assert lockout.seconds_left("192.0.2.1") == 0
        fail(lockout, "192.0.2.1", 1)
        waits.append(lockout.seconds_left("192.0.2.1"))
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_success_forgets(lockout: Lockout) -> None:
    fail(lockout, "192.0.2.1", 5)
    lockout.record_success("192.0.2.1")
    assert lockout.seconds_left("192.0.2.1") == 0
    assert lockout.record_failure("192.0.2.1").attempts == 1


def test_a_day_forgets(lockout: Lockout, clock: Clock) -> None:
    fail(lockout, "192.0.2.1", 5)
    clock.now += 86_401
    assert lockout.record_failure("192.0.2.1").attempts == 1


def test_other_clients_are_not_locked(lockout: Lockout) -> None:
    fail(lockout, "192.0.2.1", 5)
    assert lockout.seconds_left("192.0.2.2") == 0
    assert lockout.seconds_left("bearer 192.0.2.1") == 0


def test_the_addresses_of_one_ipv6_network_are_one_client(lockout: Lockout) -> None:
    for number in range(5):
        lockout.record_failure(f"2001:db8:1:2::{number:x}")
    assert lockout.seconds_left("2001:db8:1:2:ffff::1") == 30
    assert lockout.seconds_left("2001:db8:1:3::1") == 0


def test_an_ipv4_address_in_ipv6_form_is_the_same_client_and_no_network(lockout: Lockout) -> None:
    fail(lockout, "::ffff:192.0.2.1", 5)
    assert lockout.seconds_left("192.0.2.1") == 30
    assert lockout.seconds_left("::ffff:192.0.2.2") == 0


def test_memory_stays_bounded_whoever_knocks(lockout: Lockout) -> None:
    for number in range(5000):
        lockout.record_failure(f"10.0.{number // 256}.{number % 256}")
    assert len(lockout._clients) == 4096


HERE = ["127.0.0.1", "127.2.0.1", "127.255.255.254", "::1", "::ffff:127.9.9.9", "::ffff:7f00:1"]


@pytest.mark.parametrize("first", HERE)
def test_every_loopback_address_is_this_one_machine(lockout: Lockout, first: str) -> None:
    fail(lockout, first, 5)
    assert [lockout.seconds_left(other) for other in HERE] == [30] * len(HERE)
    assert lockout.seconds_left("192.0.2.1") == 0
    lockout.record_success(HERE[0])
    assert lockout.seconds_left(first) == 0


def test_guesses_spread_over_loopback_are_counted_together(lockout: Lockout) -> None:
    for client in HERE[:5]:
        lockout.record_failure(client)
    assert lockout.seconds_left("127.0.0.1") == 30


def test_other_kinds_count_apart_and_by_the_same_rule(lockout: Lockout) -> None:
    fail(lockout, "bearer 127.0.0.1", 5)
    assert lockout.seconds_left("bearer 127.77.0.1") == 30
    assert lockout.seconds_left("127.0.0.1") == 0


def test_an_address_with_a_zone_is_of_its_network(lockout: Lockout) -> None:
    fail(lockout, "fe80::1%eth0", 5)
    assert lockout.seconds_left("fe80::2%eth1") == 30
    assert lockout.seconds_left("local") == 0
