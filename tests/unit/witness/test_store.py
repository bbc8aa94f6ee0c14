from __future__ import annotations

import os
from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.witness.store import WitnessStore


def test_the_newest_checkpoint_of_each_log_is_kept_for_the_owner_alone(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path / "witness")
    assert store.newest("a") is None
    store.keep("a", b"one")
    store.keep("a", b"two")
    store.keep("../../b", b"three")
    store.close()
    again = WitnessStore(tmp_path / "witness")
    assert (again.newest("a"), again.newest("../../b")) == (b"two", b"three")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "witness").iterdir()} == {0o600}
    assert [path.name for path in tmp_path.iterdir()] == ["witness"]
    again.close()


def test_two_witnesses_do_not_share_a_folder(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path)
    with pytest.raises(ConfigurationError, match="another witness runs"):
        WitnessStore(tmp_path)
    store.close()
    WitnessStore(tmp_path).close()


def test_of_the_proofs_of_a_fork_the_first_one_is_kept(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path)
    store.keep_evidence("a", b"one")
    store.keep_evidence("a", b"two")
    assert [path.read_bytes() for path in tmp_path.glob("*.fork")] == [b"one"]
    store.close()


def test_a_draft_that_a_crash_left_or_a_link_in_its_place_changes_nothing_else(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path)
    store.keep("a", b"one")
    (name,) = tmp_path.glob("*.note")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    name.with_suffix(".draft").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        store.keep("a", b"two")
    assert (store.newest("a"), elsewhere.read_bytes()) == (b"one", b"mine")
    name.with_suffix(".draft").unlink()
    name.with_suffix(".draft").write_bytes(b"tw and more of it")
    store.keep("a", b"two")
    assert store.newest("a") == b"two"
    store.close()


def test_a_fifo_in_the_place_of_the_draft_is_not_waited_for(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path)
    store.keep("a", b"one")
    (name,) = tmp_path.glob("*.note")
    os.mkfifo(name.with_suffix(".draft"))
    with pytest.raises(OSError, match="No such device"):
        store.keep("a", b"two")
    store.close()
