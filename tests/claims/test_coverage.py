"""Both ways: what is promised has an owner, an attack and a probe; what is owned, attacked or probed is promised."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from there_is import commands_of

from mycelos.claims import BY_ID, CLAIMS
from mycelos.configuration.variables import VARIABLES
from mycelos.ledger.events import Event
from mycelos.prove.run import PROBES

ROOT = Path(__file__).resolve().parents[2]
ATTACKS = ROOT / "tests" / "claims"
SENTENCE_END = re.compile(r"(?<=\.)\s+")

SHOWN = [claim for claim in CLAIMS if not claim.deferred]


def page_sentences():
    lines = (ROOT / "docs" / "security" / "page.txt").read_text(encoding="utf-8").splitlines()
    return [sentence for line in lines for sentence in SENTENCE_END.split(line.strip()) if sentence]


def owned(kind):
    return [(name, claim.id) for claim in CLAIMS for name in getattr(claim, kind)]


def unowned(things, kind):
    owners = {name for name, _ in owned(kind)}
    return sorted(set(things) - owners)


def owner_of_command(words):
    """The claim whose first words are the longest that fit."""
    fitting = [
        (len(first.split()), identifier)
        for first, identifier in owned("commands")
        if tuple(first.split()) == words[: len(first.split())]
    ]
    return max(fitting)[1] if fitting else None


@pytest.fixture(scope="module")
def commands():
    from mycelos.cli.main import make_app

    return sorted(set(commands_of(make_app())))


def functions_in(path):
    """The tests of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")}


def test_each_claim_of_the_design_stands_once():
    assert len(BY_ID) == len(CLAIMS)
    assert " ".join(BY_ID) == (
        "F1 D1 D2 D3 D4 T1 V1 V2 V3 V4 V5 I1 I2 I3 I4 I5 S1 S2 P1 P2 A1 A2 A3 A4 L1 L2 L3 L4 X1 X2 B1"
    )


def test_each_sentence_of_the_page_has_an_owner():
    beginnings = [beginning for beginning, _ in owned("sentences")]
    assert [sentence for sentence in page_sentences() if not sentence.startswith(tuple(beginnings))] == []


def test_each_owned_sentence_is_on_the_page():
    sentences = page_sentences()
    missing = [beginning for beginning, _ in owned("sentences") if not any(s.startswith(beginning) for s in sentences)]
    assert missing == []


def test_what_nobody_owns_is_found():
    assert not "Mycelos also makes coffee.".startswith(tuple(beginning for beginning, _ in owned("sentences")))
    assert unowned(["MYCELOS_COFFEE"], "variables") == ["MYCELOS_COFFEE"]
    assert unowned(["coffee.made"], "events") == ["coffee.made"]
    assert owner_of_command(("coffee", "make")) is None
    assert owner_of_command(("db", "audit", "verify")) == "L3"


def test_each_variable_has_one_owner_and_each_owned_one_exists():
    names = [variable.name for variable in VARIABLES]
    assert unowned(names, "variables") == []
    assert sorted(name for name, _ in owned("variables")) == sorted(names)


def test_each_event_has_one_owner_and_each_owned_one_exists():
    names = [event.value for event in Event]
    assert unowned(names, "events") == []
    assert sorted(name for name, _ in owned("events")) == sorted(names)


def test_each_command_has_an_owner(commands):
    assert ["mycelos " + " ".join(words) for words in commands if owner_of_command(words) is None] == []


def test_each_owned_command_exists(commands):
    known = {" ".join(words[:length]) for words in commands for length in range(1, len(words) + 1)}
    assert [first for first, _ in owned("commands") if first not in known] == []


def test_no_command_has_two_owners():
    names = [name for name, _ in owned("commands")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("claim", SHOWN, ids=lambda claim: claim.id)
def test_a_claim_that_is_shown_has_attacks_that_exist_and_a_probe(claim):
    assert claim.attacks
    for attack in claim.attacks:
        name, _, function = attack.partition("::")
        assert function in functions_in(ATTACKS / name), attack
    assert claim.id in PROBES
    assert any(attack.startswith("test_broken_walls") for attack in claim.attacks), "nothing takes the wall away"


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.deferred], ids=lambda claim: claim.id)
def test_a_deferred_claim_says_why_and_claims_no_attack_and_no_probe(claim):
    assert claim.deferred.endswith(".")
    assert claim.attacks == ()
    assert claim.id not in PROBES


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_each_claim_says_what_it_does_not_cover(claim):
    assert claim.text.endswith(".")
    assert claim.not_covered.endswith(".")


def test_each_probe_is_of_a_claim():
    assert set(PROBES) <= set(BY_ID)


def test_each_broken_wall_belongs_to_a_claim():
    """A test that takes a wall away is named after its claim, and the claim names one of them."""
    named = {attack.partition("::")[2] for claim in CLAIMS for attack in claim.attacks}
    files = ATTACKS.glob("test_broken_walls*.py")
    taken = {name for path in files for name in functions_in(path) if re.match(r"test_[a-z][0-9]_", name)}
    assert {name.split("_")[1].upper() for name in taken} == {claim.id for claim in SHOWN}
    assert {name for name in named if re.match(r"test_[a-z][0-9]_", name)} <= taken
