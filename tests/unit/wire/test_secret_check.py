from __future__ import annotations

import msgspec
import pytest

from mycelos.wire.secret_check import SecretCheck


def test_the_question_does_not_show_its_text() -> None:
    assert "hunter2" not in repr(SecretCheck("hunter2"))


def test_a_text_is_no_longer_than_a_message() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"text": "x" * 32_001}), type=SecretCheck)
