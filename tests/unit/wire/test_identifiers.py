from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.wire.identifiers import (
    DEFAULT_TENANT,
    IdentifierError,
    Kind,
    is_identifier,
    make_identifier,
    parse_identifier,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "identifiers-v1.json").read_text())
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

times = st.integers(0, (1 << 48) - 1)
noises = st.binary(min_size=10, max_size=10)


def _as_uuid(text: str) -> uuid.UUID:
    number = 0
    for letter in text.rpartition("_")[2]:
        number = number * 32 + ALPHABET.index(letter)
    return uuid.UUID(int=number)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_golden_identifiers_are_made(vector: dict[str, object]) -> None:
    made = make_identifier(Kind.RUN, vector["milliseconds"], bytes.fromhex(vector["random_hex"]))
    assert made == vector["text"]


@given(times, noises)
def test_an_identifier_is_a_uuid_of_version_7_with_its_time(time: int, noise: bytes) -> None:
    read = _as_uuid(make_identifier(Kind.CHAT, time, noise))
    assert read.version == 7
    assert read.variant == uuid.RFC_4122
    assert read.int >> 80 == time


@given(times, times, noises, noises)
def test_identifiers_sort_by_time(first: int, second: int, noise: bytes, other: bytes) -> None:
    if first < second:
        assert make_identifier(Kind.RUN, first, noise) < make_identifier(Kind.RUN, second, other)


@given(st.sampled_from(Kind), st.sampled_from(Kind), times, noises)
def test_an_identifier_is_read_as_its_own_kind_only(kind: Kind, other: Kind, time: int, noise: bytes) -> None:
    text = make_identifier(kind, time, noise)
    assert parse_identifier(kind, text) == text
    if other is not kind:
        with pytest.raises(IdentifierError, match=f"begins with {other.value}_"):
            parse_identifier(other, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run",
        "run_",
        "run_0000000000e00800000000000",
        "run_0000000000e0080000000000000",
        "run_8zzzzzzzzzfyzvzzzzzzzzzzzz",
        "run_0000000000E008000000000000",
        "run_0000000000i008000000000000",
        "run_0000000000l008000000000000",
        "run_0000000000u008000000000000",
        "run_0000000000e00800000000000\n",
        "run_0000000000e008000000000000\n",
        "run_0000000000e00800000000000\u0660",
        "x_run_0000000000e008000000000000",
        "../run_0000000000e008000000000000",
    ],
)
def test_a_malformed_identifier_is_refused(text: str) -> None:
    with pytest.raises(IdentifierError):
        parse_identifier(Kind.RUN, text)


@given(st.text(max_size=40))
def test_what_is_accepted_is_safe_as_a_file_name(text: str) -> None:
    try:
        accepted = parse_identifier(Kind.RUN, text)
    except IdentifierError:
        return
    assert set(accepted) <= set(ALPHABET) | set("run_")


@pytest.mark.parametrize("time", [-1, 1 << 48])
def test_a_time_outside_48_bits_is_refused(time: int) -> None:
    with pytest.raises(IdentifierError, match="time out of range"):
        make_identifier(Kind.RUN, time, bytes(10))


@pytest.mark.parametrize("length", [0, 9, 11, 16])
def test_too_little_or_too_much_randomness_is_refused(length: int) -> None:
    with pytest.raises(IdentifierError, match="must be 10 bytes"):
        make_identifier(Kind.RUN, 0, bytes(length))


def test_the_one_owner_has_a_well_formed_identifier() -> None:
    assert parse_identifier(Kind.TENANT, DEFAULT_TENANT) == "tenant_00000000000000000000000000"


def test_no_prefix_is_used_for_two_kinds() -> None:
    assert len({kind.value for kind in Kind}) == len(list(Kind))


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_s_identifiers_are_told_from_what_only_looks_like_one(kind: Kind) -> None:
    text = make_identifier(kind, 1, bytes(10))
    assert is_identifier(text)
    other = text.rpartition("_")[2]
    for wrong in (
        f"sk_{other}",
        other,
        f"{text}x",
        text.upper(),
        f"{text}\n",
        f"x{text}",
        f"{kind.value}_9{other[1:]}",
    ):
        assert not is_identifier(wrong), wrong
