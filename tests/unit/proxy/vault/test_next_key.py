from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault import next_key
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, load_master_key, read_master_key
from mycelos.proxy.vault.next_key import (
    Settled,
    demand_replaceable,
    is_unfinished,
    settle_at_start,
    swap,
    write_next_key,
)
from mycelos.proxy.vault.store import Vault

OTHER = bytes(range(1, 33))


@pytest.fixture
def made(layout: DataLayout) -> DataLayout:
    """A vault with its key."""
    create_master_key(layout)
    Vault.open(layout, load_master_key(layout, None)).close()
    return layout


def tree(layout: DataLayout) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(layout.root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(layout.root.rglob("*"))
        # SQLite's own, which opening makes and closing takes away.
        if not path.name.endswith(("-wal", "-shm"))
    }


def put(path: Path, key: bytes, mode: int = 0o600) -> None:
    path.write_bytes(base64.b64encode(key) + b"\n")
    path.chmod(mode)


def test_the_next_key_is_written_whole_for_its_owner_alone_and_never_over_another(layout: DataLayout) -> None:
    previous = os.umask(0)
    try:
        write_next_key(layout, bytearray(OTHER))
    finally:
        os.umask(previous)
    assert layout.master_key_next.stat().st_mode & 0o7777 == 0o600
    assert read_master_key(layout.master_key_next) == OTHER
    with pytest.raises(FileExistsError):
        write_next_key(layout, bytearray(32))
    assert read_master_key(layout.master_key_next) == OTHER
    assert [path.name for path in layout.root.iterdir()] == [".master_key.next"]
    swap(layout)
    assert [path.name for path in layout.root.iterdir()] == [".master_key"]
    assert read_master_key(layout.master_key) == OTHER


def test_a_draft_that_a_killed_process_left_is_written_anew(layout: DataLayout) -> None:
    layout.master_key_draft.write_bytes(b"half a k")
    assert is_unfinished(layout)
    write_next_key(layout, bytearray(OTHER))
    assert read_master_key(layout.master_key_next) == OTHER
    assert not layout.master_key_draft.exists()


def test_without_a_rotation_nothing_is_touched(made: DataLayout) -> None:
    before = tree(made)
    assert settle_at_start(made, None) is Settled.NONE
    assert tree(made) == before


def test_a_next_key_that_opens_nothing_is_removed_and_the_old_one_stays(made: DataLayout) -> None:
    before = tree(made)
    put(made.master_key_next, OTHER)
    made.master_key_draft.write_bytes(b"half")
    assert settle_at_start(made, None) is Settled.UNDONE
    assert tree(made) == before


def test_a_next_key_that_opens_the_vault_takes_the_place_of_one_that_does_not(made: DataLayout) -> None:
    key = load_master_key(made, None)
    made.master_key.rename(made.master_key_next)
    put(made.master_key, OTHER)
    assert settle_at_start(made, None) is Settled.FINISHED
    assert load_master_key(made, None) == key
    assert not is_unfinished(made)


def test_a_next_key_is_found_also_where_the_old_one_is_gone(made: DataLayout) -> None:
    key = load_master_key(made, None)
    made.master_key.rename(made.master_key_next)
    assert settle_at_start(made, None) is Settled.FINISHED
    assert load_master_key(made, None) == key


def test_where_neither_opens_the_vault_nothing_is_written(made: DataLayout) -> None:
    put(made.master_key, OTHER)
    put(made.master_key_next, OTHER[::-1])
    before = tree(made)
    with pytest.raises(VaultError, match="Neither"):
        settle_at_start(made, None)
    assert tree(made) == before


def test_a_next_key_without_a_vault_is_not_thrown_away(layout: DataLayout) -> None:
    put(layout.master_key_next, OTHER)
    before = tree(layout)
    with pytest.raises(VaultError, match="there is no vault"):
        settle_at_start(layout, None)
    assert tree(layout) == before
    layout.master_key_next.rename(layout.master_key_draft)
    assert settle_at_start(layout, None) is Settled.UNDONE
    assert list(layout.root.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "mode", "content", "owner"])
def test_a_next_key_that_mycelos_did_not_write_is_refused_and_nothing_is_written(
    made: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    following = made.master_key_next
    match kind:
        case "link":
            put(tmp_path / "key", OTHER)
            following.symlink_to(tmp_path / "key")
        case "folder":
            following.mkdir(mode=0o600)
        case "pipe":
            os.mkfifo(following, 0o600)
        case "mode":
            put(following, OTHER, 0o640)
        case "content":
            put(following, OTHER[:-1])
        case _:
            put(following, OTHER)
            status = following.stat
            real = os.fstat
            inode = status().st_ino
            monkeypatch.setattr(os, "fstat", lambda descriptor: _owned_by_another(real(descriptor), inode))
    before = tree(made)
    with pytest.raises(VaultError) as caught:
        settle_at_start(made, None)
    assert str(following) in caught.value.detail
    assert f"remove {following}" in caught.value.next_step, "the vault opens without it, and the person is told so"
    assert tree(made) == before


def _owned_by_another(status: os.stat_result, inode: int) -> os.stat_result:
    fields = list(status)
    if status.st_ino == inode:
        fields[4] = 4711
    return os.stat_result(fields)


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_master_key_that_others_can_read_is_refused_also_beside_a_next_one(made: DataLayout, mode: int) -> None:
    put(made.master_key_next, OTHER)
    made.master_key.chmod(mode)
    before = tree(made)
    with pytest.raises(VaultError, match="others may have read the key"):
        settle_at_start(made, None)
    assert tree(made) == before


def test_a_key_from_the_environment_that_opens_the_vault_undoes_a_rotation(made: DataLayout) -> None:
    key = load_master_key(made, None)
    made.master_key.unlink()
    put(made.master_key_next, OTHER)
    assert settle_at_start(made, key) is Settled.UNDONE
    assert load_master_key(made, key) == key


def test_after_a_rotation_the_old_key_in_the_environment_is_named_as_the_thing_to_change(made: DataLayout) -> None:
    old = load_master_key(made, None)
    put(made.master_key, OTHER)
    with pytest.raises(VaultError) as caught:
        load_master_key(made, old)
    assert "take MYCELOS_MASTER_KEY out of the environment" in caught.value.next_step


def test_a_vault_that_is_open_elsewhere_is_not_settled(made: DataLayout) -> None:
    put(made.master_key_next, OTHER)
    vault = Vault.open(made, load_master_key(made, None))
    try:
        with pytest.raises(VaultError, match="has the vault"):
            settle_at_start(made, None)
    finally:
        vault.close()
    assert made.master_key_next.exists()


def test_an_old_copy_of_the_vault_with_its_old_key_opens_beside_a_newer_next_key(made: DataLayout) -> None:
    """What an operator puts back from a copy is not lost to a file that lies about."""
    copy = DataLayout(made.root / "copy")
    shutil.copytree(made.proxy, copy.proxy)
    shutil.copy(made.master_key, copy.master_key)
    put(copy.master_key_next, OTHER)
    assert settle_at_start(copy, None) is Settled.UNDONE
    Vault.open(copy, load_master_key(copy, None)).close()


def test_a_key_that_is_mounted_by_itself_is_not_rotated_in_place(
    made: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand_replaceable(made)
    odd = DataLayout(tmp_path / "a folder")
    for layout in (made, odd):
        escaped = str(layout.master_key).replace(" ", "\\040")
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
            f"30 22 8:1 /keys/k {escaped} ro,relatime shared:1 - ext4 /dev/sda1 rw\n"
        )
        monkeypatch.setattr(next_key, "_MOUNTS", mounts)
        with pytest.raises(VaultError, match="is mounted"):
            demand_replaceable(layout)
