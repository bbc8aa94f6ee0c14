from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mycelos.wire import runner
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import Refusal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "runner-v1.json").read_text())
DIRECTIONS = {"to": runner.ToRunner, "from": runner.FromRunner}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_the_golden_frames_are_read_and_written_back_as_the_same_bytes(vector: dict[str, str]) -> None:
    frame = decode_json(vector["json"], DIRECTIONS[vector["direction"]], "frame")
    assert type(frame) is getattr(runner, vector["type"])
    assert msgspec.json.encode(frame).decode() == vector["json"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_a_frame_of_the_other_direction_is_refused(vector: dict[str, str]) -> None:
    other = {"to": "from", "from": "to"}[vector["direction"]]
    with pytest.raises(Refusal):
        decode_json(vector["json"], DIRECTIONS[other], "frame")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["type"])
def test_a_frame_with_a_field_too_many_or_too_few_is_refused(vector: dict[str, str]) -> None:
    message = json.loads(vector["json"])
    for changed in ({**message, "run": "run_x"}, {"type": message["type"]}, {**message, "type": "tool.grant"}):
        with pytest.raises(Refusal):
            decode_json(json.dumps(changed), DIRECTIONS[vector["direction"]], "frame")


def test_another_protocol_version_is_refused() -> None:
    hello = json.loads(VECTORS[0]["json"])
    with pytest.raises(Refusal, match=r"frame\.protocol"):
        decode_json(json.dumps({**hello, "protocol": 2}), runner.ToRunner, "frame")


def test_no_frame_of_the_runner_carries_its_identity() -> None:
    for kind in (runner.ModelRequest, runner.ToolCall, runner.Emit, runner.Done):
        names = {field.name for field in msgspec.structs.fields(kind)}
        assert names.isdisjoint({"run", "run_id", "agent", "principal", "tenant"})


def test_every_frame_has_a_golden_form() -> None:
    kinds = {kind.__name__ for union in DIRECTIONS.values() for kind in union.__args__}
    assert kinds == {vector["type"] for vector in VECTORS}
