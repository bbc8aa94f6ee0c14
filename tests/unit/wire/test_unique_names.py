from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mycelos.wire.unique_names import RepeatedNameError, demand_unique_names


def first_repeated(data: bytes) -> str | None:
    """The plain reference: every object is read whole, and each of its names is looked at."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        found.extend(name for at, name in enumerate(names) if name in names[:at])

    json.loads(data, object_pairs_hook=look)
    return found[0] if found else None


def is_refused(data: bytes) -> bool:
    try:
        demand_unique_names(data)
    except RepeatedNameError:
        return True
    return False


spaces = st.text(" \t\r\n", max_size=2)
# Few names and few letters: most objects have one twice, and most texts look like a piece of JSON.
names = st.sampled_from(["a", "b", "url", "", "\u00e4", '"', "\\"])
texts = names | st.text('a":,{}[]\\\u00e4 ', max_size=6)


@st.composite
def strings(draw: st.DrawFn, values: st.SearchStrategy[str] = texts) -> str:
    """A text in one of the ways to write it: as it is, without what is not ASCII, or with each character escaped."""
    text = draw(values)
    way = draw(st.sampled_from(["plain", "ascii", "escaped"]))
    if way == "escaped":
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in text) + '"'
    return json.dumps(text, ensure_ascii=way == "ascii")


numbers = st.sampled_from(["1", "12", "1.5", "1e3", "-1", "-12", "0", "true", "null"])


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    def spaced(text: str) -> str:
        return draw(spaces) + text + draw(spaces)

    if draw(st.booleans()):
        return "[" + (",".join(spaced(draw(inner)) for _ in range(draw(st.integers(0, 3)))) or draw(spaces)) + "]"
    pairs = [spaced(draw(strings(names))) + ":" + spaced(draw(inner)) for _ in range(draw(st.integers(0, 4)))]
    return "{" + (",".join(pairs) or draw(spaces)) + "}"


documents = st.recursive(strings() | numbers, containers, max_leaves=12)


@given(documents, spaces, spaces)
@example('{"a":12,"a":1}', "", "")
@example('{"a":1,"a":12}', "", "")
@example('{"a":1,"a":1}', "", "")
@example('{"a":"x","\\u0061":"x"}', " ", " ")
@example('{"a":"{","b":"\\"a\\":1,\\"a\\":1"}', "", "")
# Stepping over the lengths of the values that count, and not of those that are there, would end well here.
@example('{"a":1,"b":123456789,"a":[{"q":1,"b":            0}],"c":1}', "", "")
@example('{"a":{"b":1},"a":{"b":1,"b":2}}', "", "")
def test_it_refuses_what_the_plain_reference_refuses(document: str, before: str, after: str) -> None:
    data = (before + document + after).encode()
    assert is_refused(data) == (first_repeated(data) is not None)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"url":"x","url":"y"}', "url"),
        ('{"x":{"y":[{"z":1,"z":1}]}}', "z"),
        ('[{"z":1,"z":1}]', "z"),
        ('{"x":1,"' + "n" * 100 + '":{},"' + "n" * 100 + '":{}}', "n" * 64),
    ],
)
def test_the_name_is_told_up_to_a_limit(text: str, named: str) -> None:
    with pytest.raises(RepeatedNameError) as raised:
        demand_unique_names(text.encode())
    assert str(raised.value) == f"The field `{named}` stands there twice"


def test_a_text_is_stepped_over_and_what_holds_no_object_too(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_into: list[str] = []

    class Reader:
        def decode(self, text: str) -> None:
            looked_into.append(text)

    monkeypatch.setattr("mycelos.wire.unique_names._NAMES", Reader())
    demand_unique_names(b'{"body":"{}","numbers":[1,2],"headers":{"A":"1"},"list":["{"]}')
    assert looked_into == ['{"A":"1"}', '["{"]']


@pytest.mark.parametrize("data", [b"{", b'{"a":[{]}', b'{"a":{"\xff":1}}', b'{"a":1}x'])
def test_what_is_no_json_after_all_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        demand_unique_names(data)
