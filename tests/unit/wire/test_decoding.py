from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.wire.binding import Binding
from mycelos.wire.decoding import decode_json, decode_request
from mycelos.wire.egress import HttpCall
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.runner import FromRunner

SECRET = "gh-canary-41f7"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _refused(data: bytes | str, message_type: type[object] = HttpCall) -> str:
    with pytest.raises(Refusal) as caught:
        decode_json(data, message_type, "call")
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert caught.value.__suppress_context__
    return caught.value.problem.detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"url": "x"}, "The field `method` is missing, in call"),
        ({"method": 1, "url": "x"}, "Expected text, not a whole number, in call.method"),
        ({"method": "GET", "url": "x", "timeout": 0}, "Expected a number with a value > 0.0, in call.timeout"),
        ({"method": "GET", "url": "x", "headers": {"A": 1}}, "Expected text, not a whole number, in call.headers[...]"),
        ({"method": "GET", "url": "x", "retries": 1}, "There is no field `retries`, in call"),
        ([], "Expected an object, not a list, in call"),
    ],
)
def test_an_error_names_the_field(body: object, detail: str) -> None:
    assert _refused(json.dumps(body)) == detail


class Odd(msgspec.Struct):
    when: dt.datetime
    size: Annotated[list[int], msgspec.Meta(max_length=1)]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"when": "yesterday", "size": []}, "Expected one of the values that this field can have, in call.when"),
        ({"when": "2026-01-01T00:00:00Z", "size": [1, 2]}, "Expected a list with a length <= 1, in call.size"),
    ],
)
def test_no_words_of_the_library_come_through(body: object, detail: str) -> None:
    assert _refused(json.dumps(body), Odd) == detail


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"nul", b'{"method": NaN}', b'{"method": "\xff"}', "\ud800", b'{"method":"\\ud800"}', b"[" * 200_000],
    ids=["empty", "open", "word", "not a number", "latin-1", "lone surrogate", "escaped surrogate", "deep"],
)
def test_bytes_that_are_no_json_are_refused(data: bytes | str) -> None:
    _refused(data)


def test_values_nested_without_end_are_refused() -> None:
    _refused(b'{"method":"GET","url":"x","body":' + b"[" * 200_000)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"{SECRET}"}}',
        f'{{"type":"done","ok":"{SECRET}","code":"","text":""}}',
        f'{{"type":"emit","text":["{SECRET}"]}}',
    ],
)
def test_an_error_never_repeats_a_value(text: str) -> None:
    assert SECRET not in _refused(text, FromRunner)


@pytest.mark.parametrize("field", ["scheme", "methods", "query", "host", "v", "inject", "confirm", "path"])
def test_a_secret_typed_into_a_field_of_a_binding_is_not_repeated(field: str) -> None:
    body = {
        "v": 1, "scheme": "https", "host": "a.org", "port": 443, "methods": ["GET"], "path": [], "query": "any",
        "inject": {"form": "bearer"}, "response": {"set_cookie": "drop", "location_query": "redact"},
        "confirm": False, "quota": None,
    }  # fmt: skip
    for value in (SECRET.upper(), [SECRET.upper() + "/"], {"form": SECRET.upper()}):
        if field == "path" and value == SECRET.upper():
            continue
        assert SECRET.upper() not in _refused(json.dumps({**body, field: value}), Binding)


def test_the_name_of_an_unknown_field_is_shown_up_to_a_limit() -> None:
    detail = _refused(json.dumps({"a" * 100_000: 1}))
    assert len(detail) < 200
    assert "a" * 64 in detail


@given(json_values)
def test_any_json_value_is_read_or_refused(value: object) -> None:
    try:
        call = decode_json(msgspec.json.encode(value), HttpCall, "call")
    except Refusal:
        return
    assert isinstance(call, HttpCall)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        frame = decode_json(data, FromRunner, "frame")
    except Refusal:
        return
    assert isinstance(frame, msgspec.Struct)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"method":"GET","url":"x","url":"y"}', "url"),
        (b'{"method":"GET","u\\u0072l":"x","url":"x"}', "url"),
        (b'{"method":"GET","url":"x","headers":{"A":"1","B":"2","A":"1"}}', "A"),
        (b'{"method":"GET","url":"x","headers":{"' + b"A" * 100 + b'":"1","' + b"A" * 100 + b'":"1"}}', "A" * 64),
    ],
)
def test_a_name_that_stands_twice_in_one_object_of_a_request_is_refused(body: bytes, named: str) -> None:
    with pytest.raises(Refusal) as caught:
        decode_request(body, HttpCall, "call")
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert caught.value.problem.detail == f"The field `{named}` stands there twice, in call"


class Anything(msgspec.Struct):
    it: Any


@given(json_values)
def test_a_request_without_such_a_name_is_decoded_as_ever(value: object) -> None:
    body = json.dumps({"it": value}).encode()
    assert _decoded(decode_request, body) == _decoded(decode_json, body)


def _decoded(decode: Any, body: bytes) -> object:
    try:
        return decode(body, Anything, "it").it
    except Refusal as refusal:
        return refusal.problem.detail


def test_what_is_no_request_is_refused_as_ever() -> None:
    deep = b'{"it":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for body in (b"", b"{", b'{"it":"\xff"}', b"\xef\xbb\xbf{}", deep, b'{"it":NaN}', b'{"it":1}x'):
        with pytest.raises(Refusal):
            decode_request(body, Anything, "it")
    assert decode_request(b'{"it":1' + b"0" * 300 + b"}", Anything, "it").it


def test_depth_ends_in_an_answer_or_a_refusal() -> None:
    # Each Python has a depth of its own at which one of the two readers gives up.
    depths = (*range(1, 1000, 7), 3_000, 10_000, 100_000, 1_000_000)
    found = [_decoded(decode_request, b'{"it":' + b"[" * depth + b"]" * depth + b"}") for depth in depths]
    assert isinstance(found[0], list)
    assert isinstance(found[-1], str)


@pytest.mark.parametrize(
    ("error", "said"), [(RecursionError(), "Nested too deep"), (ValueError(SECRET), "Not valid UTF-8 JSON")]
)
def test_where_the_second_reader_gives_up_the_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def read(_data: bytes) -> None:
        raise error

    monkeypatch.setattr("mycelos.wire.decoding.demand_unique_names", read)
    with pytest.raises(Refusal) as caught:
        decode_request(b'{"method":"GET","url":"x"}', HttpCall, "call")
    assert caught.value.problem.detail == f"{said}, in call"
    assert caught.value.__context__ is None
