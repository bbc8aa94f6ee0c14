from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mycelos.wire import spawn
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "spawn-v1.json").read_text())
REQUEST = json.loads(VECTORS[0]["json"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_the_golden_datagrams_are_read_and_written_back_as_the_same_bytes(vector: dict[str, str]) -> None:
    message = decode_json(vector["json"], getattr(spawn, vector["type"]), "message")
    assert msgspec.json.encode(message).decode() == vector["json"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_another_version_is_refused(vector: dict[str, str]) -> None:
    changed = json.dumps({**json.loads(vector["json"]), "v": 2})
    with pytest.raises(Refusal, match=r"message\.v"):
        decode_json(changed, getattr(spawn, vector["type"]), "message")


def test_the_spawner_takes_a_profile_and_a_run_and_nothing_else() -> None:
    assert [field.name for field in msgspec.structs.fields(spawn.SpawnRequest)] == ["v", "nonce", "profile", "run"]


@pytest.mark.parametrize(
    "change",
    [
        {"argv": ["/bin/sh"]},
        {"env": {}},
        {"workspace": "/"},
        {"profile": "root"},
        {"profile": ""},
        {"nonce": "x"},
        {"nonce": "0" * 32 + "\n"},
    ],
    ids=str,
)
def test_a_wish_for_more_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        decode_json(json.dumps({**REQUEST, **change}), spawn.SpawnRequest, "request")
