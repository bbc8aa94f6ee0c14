from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mycelos.configuration.plain_file import (
    demand_plain_database,
    new_plain_file,
    open_plain_file,
    read_plain_file,
    replace_plain_file,
)


def make_odd(kind: str, path: Path) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        target = path.with_name("target")
        target.write_bytes(b"x")
        path.symlink_to(target)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path)
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.close()


KINDS = ["FIFO", "directory", "link", "link to a device", "link to itself", "socket"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path, kind: str) -> None:
    make_odd(kind, tmp_path / "it")
    with pytest.raises(OSError, match=r"\[Errno"):
        read_plain_file(tmp_path / "it", 10)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(device: str) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_plain_file(Path(device), 10)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"x" * 10)
    assert read_plain_file(tmp_path / "it", 10) == b"x" * 10
    with pytest.raises(OSError, match="longer than 9 bytes"):
        read_plain_file(tmp_path / "it", 9)


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_plain_file(tmp_path / "it", 10)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it")
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        with pytest.raises(OSError, match="regular"):
            read_plain_file(tmp_path / "it", 10)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_file_is_replaced_whole_and_for_this_user_alone(tmp_path):
    path = tmp_path / "made" / "file"
    for data in (b"one", b"another"):
        replace_plain_file(path, data)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_replacement_that_fails_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_plain_file(path, b"one")

    def refuse(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        replace_plain_file(path, b"another")
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_link_is_followed_to_a_regular_file_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_plain_file(tmp_path / "link", follow=True) as stream:
        assert stream.read() == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        open_plain_file(tmp_path / "link")
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    for name in ("zero", "fifo", "."):
        with pytest.raises(OSError, match="not a regular file"):
            open_plain_file(tmp_path / name, follow=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", ["database", "database-journal", "database-wal", "database-shm"])
def test_what_is_no_file_where_a_database_belongs_or_beside_it_is_named(tmp_path: Path, kind: str, odd: str) -> None:
    database = tmp_path / "database"
    demand_plain_database(database)
    (tmp_path / odd).touch()
    demand_plain_database(database)
    (tmp_path / odd).unlink()
    make_odd(kind, tmp_path / odd)
    with pytest.raises(OSError, match="not a regular file") as caught:
        demand_plain_database(database)
    assert caught.value.filename == str(tmp_path / odd)


def test_a_new_file_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with new_plain_file(path) as stream:
        stream.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_of_a_new_file_that_was_not_finished_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_plain_file(tmp_path / "file") as stream:
        stream.write(b"a part")
        stream.flush()
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_new_file_never_replaces_one(tmp_path: Path, when: str) -> None:
    path = tmp_path / "file"
    if when == "before":
        path.symlink_to("nowhere")
    with pytest.raises(FileExistsError), new_plain_file(path):
        path.symlink_to("nowhere")
    assert path.is_symlink()
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_that_cannot_be_named_leaves_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"), new_plain_file(tmp_path / "file") as stream:
        stream.write(b"all of it")
    assert list(tmp_path.iterdir()) == []
