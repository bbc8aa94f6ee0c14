import base64
import os
import threading
from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, load_master_key, read_master_key
from mycelos.proxy.vault.store import Vault

KEY = bytes(range(32))


def write_key(layout: DataLayout, content: bytes, mode: int = 0o600) -> Path:
    layout.master_key.write_bytes(content)
    layout.master_key.chmod(mode)
    return layout.master_key


def tree(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(found.relative_to(path)): (found.lstat().st_mode, found.read_bytes() if found.is_file() else b"")
        for found in sorted(path.rglob("*"))
    }


def test_a_new_key_is_32_random_bytes_in_a_file_for_its_owner_alone(layout: DataLayout) -> None:
    previous = os.umask(0)
    try:
        path = create_master_key(layout)
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o7777 == 0o600
    key = load_master_key(layout, None)
    assert len(key) == 32
    assert key != bytes(32)
    assert [found.name for found in layout.root.iterdir()] == [".master_key"]


def test_a_key_is_never_overwritten(layout: DataLayout) -> None:
    create_master_key(layout)
    before = tree(layout.root)
    with pytest.raises(VaultError, match="already a key"):
        create_master_key(layout)
    assert tree(layout.root) == before


def test_no_key_is_made_where_a_vault_already_is(layout: DataLayout) -> None:
    Vault.open(layout, KEY).close()
    before = tree(layout.root)
    with pytest.raises(VaultError, match="could not open it.*the credentials in this vault are lost"):
        create_master_key(layout)
    assert tree(layout.root) == before


def test_of_many_that_make_a_key_at_once_one_wins_and_its_key_stays(layout: DataLayout) -> None:
    outcomes: list[bool] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait(10)
        try:
            create_master_key(layout)
        except VaultError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == [False] * 7 + [True]
    assert [found.name for found in layout.root.iterdir()] == [".master_key"]
    assert len(load_master_key(layout, None)) == 32


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o700, 0o4600])
def test_a_key_that_others_could_read_is_refused_with_the_command_that_mends_it(layout: DataLayout, mode: int) -> None:
    path = write_key(layout, base64.b64encode(KEY), mode)
    before = tree(layout.root)
    with pytest.raises(VaultError) as caught:
        load_master_key(layout, None)
    assert f"chmod 600 {path}" in caught.value.next_step
    assert "mycelos credential rotate SERVICE" in caught.value.next_step
    assert tree(layout.root) == before


def test_without_the_check_of_the_mode_a_readable_key_would_be_taken(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key(layout, base64.b64encode(KEY), 0o644)
    monkeypatch.setattr("mycelos.proxy.vault.keys._demand_owner_only", lambda *_: None)
    assert load_master_key(layout, None) == KEY


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_for_its_owner_alone_is_read(layout: DataLayout, mode: int) -> None:
    write_key(layout, base64.b64encode(KEY) + b"\n", mode)
    assert load_master_key(layout, None) == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        base64.b64encode(KEY[:31]),
        base64.b64encode(KEY + b"x"),
        KEY,
        base64.b64encode(KEY)[:-1],
        base64.b64encode(KEY) * 2,
        b"\xff" * 44,
        b"A" * 5000,
    ],
)
def test_a_file_that_holds_no_key_is_refused_without_quoting_it(layout: DataLayout, content: bytes) -> None:
    path = write_key(layout, content)
    with pytest.raises(VaultError) as caught:
        read_master_key(path)
    assert "32 bytes in base64" in str(caught.value)
    assert content.decode("latin-1").strip() == "" or content.decode("latin-1").strip() not in str(caught.value)


def test_a_link_a_folder_and_a_pipe_are_no_key_file(layout: DataLayout, tmp_path: Path) -> None:
    real = tmp_path / "key"
    real.write_bytes(base64.b64encode(KEY))
    real.chmod(0o600)
    layout.master_key.symlink_to(real)
    with pytest.raises(VaultError, match="plain file"):
        load_master_key(layout, None)
    layout.master_key.unlink()
    layout.master_key.mkdir(mode=0o600)
    with pytest.raises(VaultError, match="plain file"):
        load_master_key(layout, None)
    layout.master_key.rmdir()
    os.mkfifo(layout.master_key, 0o600)
    with pytest.raises(VaultError, match="plain file"):
        load_master_key(layout, None)


def test_a_key_of_another_user_is_refused(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(layout, base64.b64encode(KEY))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(VaultError, match="the proxy runs as 4711"):
        load_master_key(layout, None)


def test_without_any_key_the_fix_depends_on_whether_there_is_a_vault(layout: DataLayout) -> None:
    with pytest.raises(VaultError, match="mycelos init"):
        load_master_key(layout, None)
    Vault.open(layout, KEY).close()
    with pytest.raises(VaultError, match="Restore it"):
        load_master_key(layout, None)


def test_environment_and_file_may_agree_but_not_differ(layout: DataLayout) -> None:
    assert load_master_key(layout, KEY) == KEY
    write_key(layout, base64.b64encode(KEY))
    assert load_master_key(layout, KEY) == KEY
    with pytest.raises(VaultError, match="two different keys"):
        load_master_key(layout, bytes(32))
    with pytest.raises(VaultError, match="not 32 bytes"):
        write_key(layout, b"").unlink()
        load_master_key(layout, b"short")
