from __future__ import annotations

import msgspec
import pytest

from mycelos.wire.keys import LEDGER_SIGNING_KEY, LONG_LIVED_KEYS, SIGNING_KEYS, KeyStatus, RotateKey


def test_a_rotation_is_of_the_master_key_or_of_a_long_lived_key_that_exists() -> None:
    assert msgspec.json.decode(b"{}", type=RotateKey).name is None
    body = msgspec.json.encode({"name": LEDGER_SIGNING_KEY})
    assert msgspec.json.decode(body, type=RotateKey).name == LEDGER_SIGNING_KEY
    for name in ("", "master-key", "ledger", "x" * 65):
        with pytest.raises(msgspec.ValidationError, match="name"):
            msgspec.json.decode(msgspec.json.encode({"name": name}), type=RotateKey)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"key": "AAAA"}', type=RotateKey)


def test_every_signing_key_is_a_long_lived_key() -> None:
    assert set(LONG_LIVED_KEYS) > SIGNING_KEYS


def test_a_status_has_no_field_that_a_key_or_a_digest_of_one_could_stand_in() -> None:
    assert set(KeyStatus.__struct_fields__) == {
        "slot", "created_at", "wraps", "wraps_limit", "source", "records", "keys", "is_unfinished",
    }  # fmt: skip
