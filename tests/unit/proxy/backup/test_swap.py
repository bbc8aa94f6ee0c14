from __future__ import annotations

import ctypes
import errno

import pytest

from mycelos.proxy.backup import swap
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.swap import is_free, put_in_place, set_aside, sync_tree


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "new").touch()
    return folder


def test_where_nothing_lies_the_folder_takes_the_place(prepared, tmp_path):
    assert put_in_place(prepared, tmp_path / "place") is False
    assert (tmp_path / "place" / "new").exists()
    assert not prepared.exists()


def test_an_empty_folder_is_replaced(prepared, tmp_path):
    (tmp_path / "place").mkdir()
    assert is_free(tmp_path / "place")
    assert put_in_place(prepared, tmp_path / "place") is False
    assert (tmp_path / "place" / "new").exists()


def test_what_lies_there_is_exchanged_and_never_deleted(prepared, tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()
    assert not is_free(tmp_path / "place")
    assert put_in_place(prepared, tmp_path / "place") is True
    assert (tmp_path / "place" / "new").exists()
    assert (prepared / "old").exists()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EINVAL, BackupError), (errno.EXDEV, BackupError), (errno.EACCES, OSError)]
)
def test_a_system_that_refuses_the_exchange_changes_nothing(prepared, tmp_path, monkeypatch, number, error):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()

    class Refusing:
        def __init__(self, *_arguments, **_options):
            self.renameat2 = lambda *_: ctypes.set_errno(number) or -1

    monkeypatch.setattr(swap.ctypes, "CDLL", Refusing)
    with pytest.raises(error):
        put_in_place(prepared, tmp_path / "place")
    assert (tmp_path / "place" / "old").exists()
    assert (prepared / "new").exists()


def test_a_name_that_is_taken_gets_a_number(prepared, tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside-2").symlink_to("nowhere")
    assert set_aside(prepared, "aside") == tmp_path / "aside-3"
    assert (tmp_path / "aside-3" / "new").exists()


def test_everything_below_a_folder_is_synced_and_links_are_not_followed(prepared, monkeypatch):
    (prepared / "below").mkdir()
    (prepared / "below" / "file").touch()
    (prepared / "below" / "link").symlink_to("/dev/null")
    synced = []
    monkeypatch.setattr(swap.os, "fsync", synced.append)
    sync_tree(prepared)
    # new, below, below/file, and the folder itself.
    assert len(synced) == 4
