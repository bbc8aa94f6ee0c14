from __future__ import annotations

from mycelos.proxy.backup.errors import BackupError


def test_the_error_says_what_is_wrong_and_what_to_do():
    assert str(BackupError(detail="It is cut.", next_step="Use another.")) == "It is cut. Use another."
