from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.wire.binding import FORBIDDEN_INJECTION_HEADERS, Binding, Method
from mycelos.wire.decoding import decode_json
from mycelos.wire.problems import ProblemCode, Refusal

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "wire" / "binding-v1.json").read_text())
PLAIN = json.loads(VECTORS["valid"][0]["json"])


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_stored_binding_is_read_and_written_back_as_the_same_bytes(vector: dict[str, str]) -> None:
    binding = decode_json(vector["json"], Binding, "binding")
    assert msgspec.json.encode(binding).decode() == vector["json"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_a_binding_of_another_form_is_refused_with_the_field(vector: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        decode_json(vector["json"], Binding, "binding")
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert vector["field"] in caught.value.problem.detail


def test_the_vectors_leave_out_each_field_once() -> None:
    absent = {vector["name"].removeprefix("absent ") for vector in VECTORS["invalid"] if "absent" in vector["name"]}
    assert absent == {field.name for field in msgspec.structs.fields(Binding)}


def _is_refused(**changes: object) -> bool:
    try:
        msgspec.convert({**PLAIN, **changes}, Binding)
    except msgspec.ValidationError:
        return True
    return False


@given(st.text(max_size=30))
def test_a_path_segment_holds_nothing_that_another_parser_could_split(segment: str) -> None:
    if not _is_refused(path=[segment]):
        assert segment
        assert segment not in {".", ".."}
        assert segment.isascii()
        assert not set(segment) & set("/\\%?# \t\r\n\x00{}")


@given(st.text(max_size=30))
def test_a_host_is_in_lower_case_ascii_without_empty_labels(host: str) -> None:
    if not _is_refused(host=host):
        assert host.isascii()
        assert host == host.lower()
        assert all(host.split("."))


@pytest.mark.parametrize("name", sorted(FORBIDDEN_INJECTION_HEADERS))
def test_no_secret_is_bound_to_a_header_that_changes_framing_or_routing(name: str) -> None:
    assert _is_refused(inject={"form": "header", "name": name})
    assert _is_refused(inject={"form": "header", "name": name.title()})
    assert _is_refused(inject={"form": "header", "name": name.replace("-", "_")})


@pytest.mark.parametrize(
    "name", ["Proxy-Authorization", "X-Forwarded-Host", "X_Forwarded_For", "X-Original-URL", "Mycelos-Run"]
)
def test_no_secret_is_bound_to_a_family_of_headers_that_route(name: str) -> None:
    assert _is_refused(inject={"form": "header", "name": name})


def test_the_headers_in_which_services_take_keys_can_be_bound() -> None:
    for name in ("Authorization", "X-Api-Key", "Private-Token", "x-goog-api-key"):
        assert not _is_refused(inject={"form": "header", "name": name})


def test_taking_the_header_rule_away_would_let_the_host_header_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycelos.wire.binding.FORBIDDEN_INJECTION_HEADERS", frozenset())
    assert not _is_refused(inject={"form": "header", "name": "Host"})


def test_connect_and_trace_are_no_methods_that_a_binding_can_name() -> None:
    assert {"CONNECT", "TRACE"}.isdisjoint(Method)
