from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from mycelos.policy.capabilities import (
    NAME_LIMIT,
    NameRefusedError,
    check_capability,
    check_registry,
    grants,
    is_capability,
    is_tool_name,
)

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "policy" / "prefix_caps.jsonl").read_text().splitlines()
]
SEGMENT = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
CAPABILITY = st.lists(SEGMENT, min_size=1, max_size=4).map(".".join)
TOOL = st.lists(SEGMENT, min_size=2, max_size=4).map(".".join)
# Text that looks like a name but mostly is none: dots, capitals, look-alikes, patterns, controls.
NEAR = st.text(st.sampled_from("ab.AB-_0*?/: \n\x00\u0456"), max_size=12)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['cap']}|{vector['tool']!r}")
def test_the_shared_vectors_hold(vector):
    assert grants(vector["cap"], vector["tool"]) is (vector["expect"] == "allow")


def test_the_page_s_own_example_holds():
    assert grants("github.read", "github.read.issues")
    assert grants("github.read", "github.read.repos")
    assert grants("github.read", "github.read")
    assert not grants("github.read", "github.write")
    assert not grants("github.read", "github")
    assert not grants("github.read", "github.readonly")
    assert not grants("github.read", "github.readonly.issues")


@given(CAPABILITY, TOOL)
def test_a_capability_covers_itself_and_what_lies_below_and_nothing_else(capability, tool):
    segments = capability.split(".")
    assert grants(capability, tool) == (tool.split(".")[: len(segments)] == segments)


@given(CAPABILITY, SEGMENT)
def test_a_name_below_is_covered(capability, segment):
    assert grants(capability, f"{capability}.{segment}")


@given(TOOL, SEGMENT)
def test_a_capability_never_covers_a_name_above_it(tool, segment):
    assert not grants(f"{tool}.{segment}", tool)


@given(TOOL, st.text(st.characters(exclude_characters="."), min_size=1, max_size=4))
def test_a_name_that_only_begins_with_the_same_letters_is_not_covered(capability, suffix):
    assert not grants(capability, capability + suffix)


@given(CAPABILITY | NEAR, TOOL | NEAR)
def test_nothing_malformed_is_ever_covered(capability, tool):
    assume(not (is_capability(capability) and is_tool_name(tool)))
    assert not grants(capability, tool)


@given(st.text(st.characters(), max_size=20))
def test_a_name_is_ascii_segments_and_nothing_else(text):
    segments = text.split(".")
    letters = set("abcdefghijklmnopqrstuvwxyz")
    well_formed = all(
        segment[:1] in letters and set(segment) <= letters | set("0123456789_-") for segment in segments if segment
    ) and all(segments)
    assert is_capability(text) == well_formed
    assert is_tool_name(text) == (well_formed and len(segments) > 1)


@pytest.mark.parametrize(
    "name", ["github.read\n", "github.read.", ".github", "github..read", "*", "github.*", "", "Github"]
)
def test_what_is_no_capability_is_refused_with_the_rule(name):
    with pytest.raises(NameRefusedError, match="joined by dots"):
        check_capability(name)


def test_a_capability_is_given_back_as_it_is():
    assert check_capability("github.read") == "github.read"


def test_a_name_has_128_bytes_at_most():
    longest = "a." + "b" * (NAME_LIMIT - 2)
    assert is_tool_name(longest)
    assert not is_tool_name(longest + "b")
    assert not is_capability(longest + "b")


def test_a_registry_of_leaves_is_accepted():
    names = ["github.read.issues", "github.read.repos", "github.write", "web.fetch", "github.read-more.x"]
    assert check_registry(names) == set(names)


@pytest.mark.parametrize(
    "names",
    [["github.read", "github.read.issues"], ["a.b.c.d", "a.b"], ["a.b", "a.b"], ["a"], ["a.B"], ["a.b", ""]],
    ids=str,
)
def test_a_registry_where_a_name_is_also_a_namespace_or_stands_twice_is_refused(names):
    with pytest.raises(NameRefusedError):
        check_registry(names)


@given(st.lists(TOOL, max_size=8))
def test_in_an_accepted_registry_equality_means_a_leaf(names):
    try:
        accepted = check_registry(names)
    except NameRefusedError:
        return
    for capability in accepted:
        assert [name for name in accepted if grants(capability, name)] == [capability]
