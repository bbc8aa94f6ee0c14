from __future__ import annotations

import hypothesis.strategies as st
import pytest
import rfc8785
from hypothesis import given

from mycelos.ledger.canonical import CanonicalError, canonical

LIMIT = 2**53 - 1
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LIMIT, LIMIT) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=20,
)


@given(VALUES)
def test_the_form_is_that_of_the_complete_rfc8785_package(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_names_are_sorted_and_nothing_is_spaced():
    assert canonical({"b": [1, True, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,true,null]}'.encode()


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), LIMIT + 1, -LIMIT - 1, {"é": 1}, {1: 1}, {"a": {"b": 0.1}}, [object()], "\ud800", b"x", {1, 2}],
    ids=repr,
)
def test_a_value_outside_of_what_entries_hold_is_refused(value):
    with pytest.raises(CanonicalError):
        canonical(value)
