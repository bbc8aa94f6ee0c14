import json
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_machine import as_ordinary_user

from mycelos.sandbox import attacks
from mycelos.sandbox.attacks import AGENT_ATTACKS, GATEWAY_ATTACKS, Attack, attempt_all

NAMES = {attack.name for attack in AGENT_ATTACKS}
SCRIPT = Path(attacks.__file__).parents[3] / "tests" / "support" / "sandbox_attack.py"


def open_attacks(mechanism: str, *removed: str) -> set[str]:
    command = as_ordinary_user([sys.executable, "-P", str(SCRIPT), mechanism, *removed])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


FILES = {"read-secret", "read-passwd", "list-outside", "write-outside", "truncate-outside", "rename-out", "device"}
ATTRIBUTES = {"mode-outside", "times-outside", "attribute-outside", "watch-outside", "enter-outside"}
SOCKETS = {"udp", "unix-datagram-pair", "connect", "bind", "socket-inet6", "socket-netlink"}
KERNEL = {"execute", "executable-memory", "clone3", "keyring", "mount", "setns", "terminal"}
SCOPED = {"tcp", "unix-abstract", "signal", "signal-descriptor"}


def test_without_a_sandbox_every_attack_succeeds() -> None:
    assert NAMES - open_attacks("landlock", "all") == set()


@pytest.mark.parametrize("mechanism", ["bubblewrap", "landlock"])
def test_with_all_walls_none_succeeds_but_the_one_that_is_documented(mechanism: str) -> None:
    assert open_attacks(mechanism) == ({"status-outside"} if mechanism == "landlock" else set())


def test_without_seccomp_sockets_and_kernel_calls_are_open() -> None:
    assert open_attacks("bubblewrap", "seccomp") >= SOCKETS | KERNEL
    assert open_attacks("landlock", "seccomp") >= SOCKETS | KERNEL | ATTRIBUTES | {"unix-path", "tcp-fast-open"}


def test_without_landlock_files_are_open_where_no_namespace_hides_them() -> None:
    assert open_attacks("landlock", "landlock") >= FILES


def test_without_either_signals_and_tcp_are_open_too() -> None:
    assert open_attacks("landlock", "landlock", "seccomp") >= FILES | ATTRIBUTES | SOCKETS | KERNEL | SCOPED


def test_namespaces_alone_hide_files_and_hold_the_network() -> None:
    still_open = open_attacks("bubblewrap", "landlock", "seccomp")
    assert not still_open & (FILES | SCOPED)
    assert still_open >= SOCKETS


def test_every_attack_has_a_name_of_its_own_and_a_sentence() -> None:
    for attacks_of_a_kind in (AGENT_ATTACKS, GATEWAY_ATTACKS):
        assert len({attack.name for attack in attacks_of_a_kind}) == len(attacks_of_a_kind)
        assert all(attack.sentence for attack in attacks_of_a_kind)


def test_a_faulty_attack_is_no_success_of_the_wall() -> None:
    def faulty(_: object) -> None:
        message = "a mistake in the attack"
        raise ValueError(message)

    with pytest.raises(ValueError, match="mistake"):
        attempt_all((Attack("faulty", "is wrong", faulty),), None)
