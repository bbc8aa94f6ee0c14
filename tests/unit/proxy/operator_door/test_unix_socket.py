import os
import socket
from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.proxy.operator_door.unix_socket import bind_operator_socket, write_operator_token
from mycelos.proxy.vault.errors import VaultError


def test_the_token_is_new_at_each_start_in_the_same_file_for_its_owner_alone(layout: DataLayout) -> None:
    previous = os.umask(0)
    try:
        first = write_operator_token(layout)
    finally:
        os.umask(previous)
    inode = layout.operator_token.stat().st_ino
    assert layout.operator_token.read_text() == first
    second = write_operator_token(layout)
    assert layout.operator_token.read_text() == second != first
    assert len(second) >= 43
    assert layout.operator_token.stat().st_mode & 0o7777 == 0o600
    assert layout.operator_token.stat().st_ino == inode
    assert layout.proxy.stat().st_mode & 0o7777 == 0o700


def test_a_token_file_that_others_could_read_is_refused(layout: DataLayout) -> None:
    write_operator_token(layout)
    layout.operator_token.chmod(0o644)
    with pytest.raises(VaultError, match="rm "):
        write_operator_token(layout)
    layout.operator_token.unlink()
    layout.operator_token.symlink_to(layout.root / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        write_operator_token(layout)
    assert not (layout.root / "elsewhere").exists()


def test_the_socket_is_for_its_owner_alone_and_replaces_one_that_was_left(layout: DataLayout) -> None:
    write_operator_token(layout)
    previous = os.umask(0)
    try:
        bind_operator_socket(layout).close()
        listener = bind_operator_socket(layout)
    finally:
        os.umask(previous)
    assert layout.operator_socket.stat().st_mode & 0o7777 == 0o600
    assert not os.get_inheritable(listener.fileno())
    with listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(layout.operator_socket))


def test_a_folder_with_a_long_path_has_a_door_too(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path / ("long-" * 30) / "data")
    assert len(str(layout.operator_socket)) > 107
    write_operator_token(layout)
    with bind_operator_socket(layout) as listener:
        listener.settimeout(10)
        with pytest.raises(OperatorUnavailableError, match="broke off"):
            OperatorClient(layout, timeout=0.05).status()
        accepted, _ = listener.accept()
        accepted.close()


def test_what_cannot_be_removed_is_named_with_the_fix(layout: DataLayout) -> None:
    layout.operator_socket.mkdir(parents=True)
    with pytest.raises(VaultError, match=r"operator\.sock is in the way.*Move it away"):
        bind_operator_socket(layout)
