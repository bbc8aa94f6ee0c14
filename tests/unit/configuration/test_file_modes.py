from __future__ import annotations

import os
import socket

import pytest

from mycelos.configuration.file_modes import mode_faults, private_paths


@pytest.fixture
def furnished(layout):
    """A data folder with everything that must be private, each as it must be."""
    layout.root.mkdir(exist_ok=True)
    folders = {layout.proxy, layout.gateway, layout.run}
    for path in private_paths(layout):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path in folders:
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
        elif path == layout.operator_socket:
            with socket.socket(socket.AF_UNIX) as listener:
                folder = os.open(path.parent, os.O_PATH)
                listener.bind(f"/proc/self/fd/{folder}/{path.name}")
                os.close(folder)
            path.chmod(0o600)
        else:
            path.touch(0o600)
    layout.root.chmod(0o711)
    return layout


def test_what_must_be_private_and_is_has_no_fault(furnished):
    assert mode_faults(furnished) == []


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666, 0o777])
def test_each_private_path_that_others_can_open_is_named_with_the_command_that_mends_it(furnished, mode):
    for path in private_paths(furnished):
        path.chmod(mode)
        (fault,) = mode_faults(furnished)
        assert fault.found == f"other users can open {path} (mode {mode:04o})"
        assert fault.fix == f"chmod {mode & 0o700:o} {path}"
        path.chmod(mode & 0o700)


def test_a_data_folder_that_others_can_write_to_is_named(furnished):
    furnished.root.chmod(0o777)
    (fault,) = mode_faults(furnished)
    assert fault.found == f"other users can write to {furnished.root} (mode 0777)"


def test_a_link_in_a_private_place_is_named_and_not_followed(furnished, tmp_path):
    (tmp_path / "elsewhere").touch(0o600)
    furnished.vault.unlink()
    furnished.vault.symlink_to(tmp_path / "elsewhere")
    (fault,) = mode_faults(furnished)
    assert fault.found == f"{furnished.vault} is a link"


def test_another_user_s_file_is_named(furnished, monkeypatch):
    monkeypatch.setattr("mycelos.configuration.file_modes.os.geteuid", lambda: 4321)
    real = type(furnished.root).stat
    other = os.stat_result((0o40711, 0, 0, 1, 4321, 0, 0, 0, 0, 0))
    monkeypatch.setattr(
        type(furnished.root), "stat", lambda path, **named: other if path == furnished.root else real(path, **named)
    )
    faults = mode_faults(furnished)
    assert len(faults) == len(private_paths(furnished))
    assert faults[-1].found.endswith(f"belongs to user {os.getuid()}")
    assert faults[-1].fix.startswith("chown 4321 ")


def test_where_nothing_was_set_up_nothing_is_wrong(layout):
    layout.root.rmdir()
    assert mode_faults(layout) == []
