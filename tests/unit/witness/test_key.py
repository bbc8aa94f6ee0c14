from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.witness.key import open_key, verifies


def test_a_key_is_made_once_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "witness.key"
    made = open_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_key(path).public == made.public
    assert verifies(made.public.public_key, made.sign(b"words"), b"words")
    assert not verifies(made.public.public_key, made.sign(b"words"), b"other words")
    assert open_key(tmp_path / "other.key").public.name != made.public.name


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "witness.key"
    open_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        open_key(path)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33)])
def test_what_is_no_key_is_refused_and_left_as_it_is(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "witness.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no key of 32 bytes"):
        open_key(path)
    assert path.read_bytes() == data
