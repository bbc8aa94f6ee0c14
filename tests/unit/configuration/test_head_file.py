from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mycelos.configuration.head_file import HeadFile, HeadFileError, read_head_file, write_head_file


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (HeadFile("x\n"), b'{"note":"x\\n"}\n'),
        (HeadFile("x", 0), b'{"note":"x"}\n'),
        (HeadFile("x", 7), b'{"note":"x","vault_generation":7}\n'),
    ],
)
def test_what_is_written_is_read_back_and_is_for_this_user_alone(tmp_path: Path, head: HeadFile, data: bytes) -> None:
    path = tmp_path / "folder" / "head.json"
    write_head_file(path, head)
    assert (path.read_bytes(), read_head_file(path)) == (data, head)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_no_head(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_head_file(tmp_path / "head.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"note":1}',
        b'{"note":"x","vault_generation":-1}',
        b'{"note":"x","more":1}',
        b'{"note":"\xff"}',
        b"[" * 4096,
        b'{"note":' + b"[" * 4000,
    ],
)
def test_a_file_of_another_kind_is_an_error_of_its_own_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.json"
    path.write_bytes(content)
    with pytest.raises(HeadFileError, match=r"head\.json"):
        read_head_file(path)


@pytest.mark.parametrize("kind", ["long", "FIFO", "folder", "link", "device"])
def test_what_is_too_long_or_no_file_is_refused_and_keeps_nobody_waiting(tmp_path: Path, kind: str) -> None:
    path, sound = tmp_path / "head.json", tmp_path / "sound"
    write_head_file(sound, HeadFile("x"))
    if kind == "long":
        path.write_bytes(b'{"note":"x"}' + b" " * 4096)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(sound if kind == "link" else "/dev/zero")
    with pytest.raises(OSError):
        read_head_file(path)


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "head.json"
    write_head_file(path, HeadFile("old"))

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_head_file(path, HeadFile("new"))
    assert read_head_file(path) == HeadFile("old")
    assert list(tmp_path.iterdir()) == [path]
