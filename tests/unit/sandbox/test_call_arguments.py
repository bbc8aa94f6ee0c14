"""The values are what the kernel means by them; the filters that are made of them are in test_seccomp."""

import fcntl
import os
import socket

import pytest
from seccompy.syscalls import syscall_nr

from mycelos.sandbox import call_arguments

FORBIDDEN_COMMANDS = {
    name: value
    for name, value in vars(fcntl).items()
    if name.startswith(("F_SETLEASE", "F_NOTIFY", "F_SETOWN", "F_SETSIG", "F_SETPIPE", "F_ADD_SEALS", "F_SET_"))
}


@pytest.mark.parametrize(
    "name", [*call_arguments.OPENING, *call_arguments.MAKING, *call_arguments.CHANGING_MODE, "fcntl", "setsockopt"]
)
def test_every_name_is_a_system_call(name: str) -> None:
    assert syscall_nr(name) >= 0


@pytest.mark.parametrize("name", FORBIDDEN_COMMANDS)
def test_no_command_on_a_file_takes_a_lease_or_names_an_owner(name: str) -> None:
    allowed = {*call_arguments.FILE_COMMANDS, *call_arguments.PROGRAM_FILE_COMMANDS, fcntl.F_SETFL}
    assert FORBIDDEN_COMMANDS[name] not in allowed


def test_every_file_that_can_be_made_has_one_of_the_creation_flags() -> None:
    assert call_arguments.CREATION_FLAGS & os.O_CREAT
    assert call_arguments.CREATION_FLAGS & os.O_TMPFILE
    assert not call_arguments.CREATION_FLAGS & os.O_DIRECTORY


def test_a_group_of_its_own_never_allows_the_set_user_id_bit() -> None:
    assert call_arguments.FORBIDDEN_MODE == 0o6000
    assert call_arguments.FORBIDDEN_MODE_WITH_OWN_GROUP == 0o4000


def test_a_service_sets_no_delay_and_nothing_else() -> None:
    assert call_arguments.SERVICE_OPTIONS == ((socket.IPPROTO_TCP, socket.TCP_NODELAY),)
