import errno
import os
from pathlib import Path

import pytest

from mycelos.sandbox import lasting_attacks
from mycelos.sandbox.attempt import attempt_all
from mycelos.sandbox.lasting_attacks import LASTING_ATTACKS


def test_without_a_wall_each_succeeds_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [outcome.name for outcome in attempt_all(LASTING_ATTACKS, None) if outcome.held] == []
    assert list(tmp_path.iterdir()) == []


WAYS = {
    "open": lasting_attacks._made_with_mark,
    "chmod": lasting_attacks._marked_by(lambda name, _: os.chmod(name, 0o4755)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mark_that_the_kernel_drops_in_silence_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    WAYS[way]()
    monkeypatch.setattr(lasting_attacks, "_MARKED", 0o755)
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        WAYS[way]()
    assert list(tmp_path.iterdir()) == []
