from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "audit-v1.json").read_text())
REQUEST = json.loads(VECTOR["request"])


@pytest.mark.parametrize(("name", "kind"), [("request", AppendRequest), ("receipt", AppendReceipt)])
def test_the_golden_messages_are_read_and_written_back_as_the_same_bytes(name: str, kind: type[msgspec.Struct]) -> None:
    assert msgspec.json.encode(decode_json(VECTOR[name], kind, name)).decode() == VECTOR[name]


@pytest.mark.parametrize(
    "change",
    [
        {"source": "proxy"},
        {"at": "2026-11-22T16:00:00Z"},
        {"seq": 1},
        {"phase": "draft"},
        {"args_digest": "AB" * 32},
        {"args_digest": "ab" * 31},
        {"args_digest": "ab" * 32 + "\n"},
        {"reason": "x" * 513},
        {"details": []},
        {"phase": "outcome", "intent_seq": -1},
        {"phase": "outcome", "intent_seq": 2**63},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_writer_sets_neither_source_nor_time_nor_place(change: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        decode_json(json.dumps({**REQUEST, **change}), AppendRequest, "event")
