import errno
import os
from pathlib import Path

import pytest
from seccompy.syscalls import syscall_nr

from mycelos.sandbox import attribute_attacks, system_calls
from mycelos.sandbox.attempt import Targets, attempt_all
from mycelos.sandbox.attribute_attacks import ATTRIBUTE_ATTACKS
from mycelos.sandbox.call_arguments import CHANGING_MODE
from mycelos.sandbox.system_calls import ATTRIBUTES, EXTENDED_ATTRIBUTES


@pytest.fixture
def targets(tmp_path: Path) -> Targets:
    (tmp_path / "plain").touch(0o600)
    return Targets(
        secret_file="",
        outside_directory=str(tmp_path),
        tcp_port=0,
        udp_port=0,
        unix_path="",
        abstract_name="",
        process=0,
        memory_address=0,
        descriptor=0,
        environment_name="",
    )


def test_without_a_wall_each_succeeds_and_leaves_no_descriptor(targets: Targets) -> None:
    before = os.listdir("/proc/self/fd")
    assert [outcome.name for outcome in attempt_all(ATTRIBUTE_ATTACKS, targets) if outcome.held] == []
    assert os.listdir("/proc/self/fd") == before
    assert (Path(targets.outside_directory) / "plain").stat().st_mode & 0o777 == 0o666


def all_ways(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    tried: set[str] = set()

    def refuse(name: str, *_: object) -> int:
        tried.add(name)
        raise OSError(errno.EPERM, name)

    monkeypatch.setattr(attribute_attacks, "call", refuse)
    held = [outcome for outcome in attempt_all(ATTRIBUTE_ATTACKS, targets) if outcome.held]
    assert len(held) == len(ATTRIBUTE_ATTACKS) - 1, "all but opening, which is no call of ours"
    return tried


def test_every_system_call_that_changes_what_belongs_to_a_file_is_tried(
    targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = {name for name in ATTRIBUTES if name.startswith("inotify")}
    reading = {name for name in EXTENDED_ATTRIBUTES if "getxattr" in name}
    expected = (ATTRIBUTES | EXTENDED_ATTRIBUTES | set(CHANGING_MODE) | {"ioctl"}) - watching - reading
    assert all_ways(targets, monkeypatch) == {name for name in expected if name in attribute_attacks._NUMBERS}


def test_a_file_system_without_flags_is_no_wall(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_: str, *__: object) -> int:
        raise OSError(errno.ENOTTY, "no flags here")

    monkeypatch.setattr(attribute_attacks, "call", without)
    attribute_attacks._flags(targets)


def test_what_programs_may_always_do_touches_no_attribute() -> None:
    always = system_calls.COMMON | system_calls.PROGRAMS | system_calls.SERVING
    assert not always & (ATTRIBUTES | EXTENDED_ATTRIBUTES | set(CHANGING_MODE))
    assert all(syscall_nr(name) >= 0 for name in ATTRIBUTES)
