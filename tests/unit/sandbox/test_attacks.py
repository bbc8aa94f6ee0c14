import json
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_machine import as_ordinary_user

from mycelos.sandbox import attacks
from mycelos.sandbox.attacks import AGENT_ATTACKS, GATEWAY_ATTACKS, TOOLS_ATTACKS
from mycelos.sandbox.attribute_attacks import ATTRIBUTE_ATTACKS
from mycelos.sandbox.probe import OPEN_UNDER_LANDLOCK, PROGRAMS_OPEN_UNDER_LANDLOCK

NAMES = {attack.name for attack in AGENT_ATTACKS}
SCRIPT = Path(attacks.__file__).parents[3] / "tests" / "support" / "sandbox_attack.py"


def open_attacks(mechanism: str, *removed: str, profile: str = "agent") -> set[str]:
    command = as_ordinary_user([sys.executable, "-P", str(SCRIPT), mechanism, profile, *removed])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


FILES = {"read-secret", "read-passwd", "list-outside", "write-outside", "truncate-outside", "rename-out", "device"}
ATTRIBUTES = {attack.name for attack in ATTRIBUTE_ATTACKS}
NAMED = ATTRIBUTES | {"watch-outside", "enter-outside", "limit-other", "slow-down-other"}
SOCKETS = {"udp", "unix-datagram-pair", "connect", "bind", "socket-inet6", "socket-netlink"}
KERNEL = {"execute", "executable-memory", "clone3", "keyring", "mount", "setns", "terminal"}
LASTING = {"set-user-id", "lease", "signal-on-input", "socket-option"}
SCOPED = {"tcp", "unix-abstract", "signal", "signal-descriptor"}


def test_without_a_sandbox_every_attack_succeeds() -> None:
    assert NAMES - open_attacks("landlock", "all") == set()


@pytest.mark.parametrize("mechanism", ["bubblewrap", "landlock"])
def test_with_all_walls_none_succeeds_but_the_one_that_is_documented(mechanism: str) -> None:
    assert open_attacks(mechanism) == ({"status-outside"} if mechanism == "landlock" else set())


def test_without_seccomp_sockets_and_kernel_calls_are_open() -> None:
    assert open_attacks("bubblewrap", "seccomp") >= SOCKETS | KERNEL | LASTING
    assert open_attacks("landlock", "seccomp") >= SOCKETS | KERNEL | LASTING | NAMED | {
        "unix-path",
        "tcp-fast-open",
    }


@pytest.mark.parametrize(
    ("mechanism", "promised"), [("bubblewrap", frozenset()), ("landlock", PROGRAMS_OPEN_UNDER_LANDLOCK)]
)
def test_around_programs_the_same_walls_stand_but_for_what_programs_need(mechanism: str, promised: frozenset) -> None:
    assert promised >= OPEN_UNDER_LANDLOCK or not promised
    assert open_attacks(mechanism, profile="tools") == promised


def test_without_seccomp_programs_do_what_lasts() -> None:
    assert open_attacks("bubblewrap", "seccomp", profile="tools") >= SOCKETS | LASTING


def test_landlock_without_seccomp_lets_programs_change_what_belongs_to_files_outside() -> None:
    assert open_attacks("landlock", "seccomp", profile="tools") >= NAMED


@pytest.mark.parametrize("profile", ["agent", "tools"])
def test_with_the_filter_that_is_for_namespaces_programs_without_them_do_so_and_agents_do_not(profile: str) -> None:
    still_open = open_attacks("landlock", "strict-filter", profile=profile)
    assert still_open & NAMED == (NAMED - {"open-for-neither", "flags-outside"} if profile == "tools" else set())


def test_without_landlock_files_are_open_where_no_namespace_hides_them() -> None:
    assert open_attacks("landlock", "landlock") >= FILES


def test_without_either_signals_and_tcp_are_open_too() -> None:
    assert open_attacks("landlock", "landlock", "seccomp") >= FILES | NAMED | SOCKETS | KERNEL | SCOPED


def test_namespaces_alone_hide_files_and_hold_the_network() -> None:
    still_open = open_attacks("bubblewrap", "landlock", "seccomp")
    assert not still_open & (FILES | SCOPED)
    assert still_open >= SOCKETS


def test_every_attack_has_a_name_of_its_own_and_a_sentence() -> None:
    for attacks_of_a_kind in (AGENT_ATTACKS, TOOLS_ATTACKS, GATEWAY_ATTACKS):
        assert len({attack.name for attack in attacks_of_a_kind}) == len(attacks_of_a_kind)
        assert all(attack.sentence for attack in attacks_of_a_kind)
