from __future__ import annotations

import pytest

from mycelos.gateway.web.audit_entry import entry_of, full_entry
from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import COLUMNS, EntryError, Phase, make_draft
from mycelos.ledger.events import Event


def columns(event: Event = Event.PROXY_HTTP_REQUEST, **about):
    draft = make_draft(event, Phase.FACT, tenant="t", **about)
    return seal(draft, EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0).as_dict()


def values(facts):
    return {fact.name: (fact.value, fact.is_claimed) for fact in facts}


def test_every_column_and_every_detail_is_there() -> None:
    full = full_entry(columns(agent="assistant", run="r1", details={"host": "a.example", "port": 443, "stream": True}))
    assert [fact.name for fact in full.columns] == [name for name in COLUMNS if name != "details"]
    assert values(full.details) == {
        "host": ("a.example", False),
        "port": ("443", False),
        "stream": ("true", False),
    }
    assert full.hash_holds


def test_agent_and_run_are_claimed_whoever_writes_and_all_that_the_gateway_says_is() -> None:
    known = values(full_entry(columns(agent="a", run="r", outcome="ok")).columns)
    assert (known["agent"], known["run"], known["outcome"]) == (("a", True), ("r", True), ("ok", False))
    said = full_entry(columns(Event.TOOL_CALLED, agent="a", outcome="ok", details={"tool": "x.y"}))
    assert values(said.columns)["outcome"] == ("ok", True)
    assert values(said.columns)["reason"] == ("none", False), "what is not said is not claimed"
    assert values(said.details) == {"tool": ("x.y", True)}
    asked = full_entry(columns(details={"purpose": "p", "host": "h"}))
    assert values(asked.details) == {"purpose": ("p", True), "host": ("h", False)}


def test_lists_are_shown_as_words() -> None:
    full = full_entry(columns(Event.PROXY_BINDING_VIOLATION, details={"reasons": ["host", "path"]}))
    assert values(full.details) == {"reasons": ("host, path", False)}


@pytest.mark.parametrize(
    "change", [{"agent": "somebody else"}, {"details": {"host": "b.example"}}, {"seq": 1}, {"details": None}]
)
def test_a_changed_content_does_not_have_its_hash(change) -> None:
    assert full_entry(columns(agent="a", details={"host": "a.example"}) | change).hash_holds is False


@pytest.mark.parametrize("change", [{"v": 2}, {"details": {"x": 1.5}}, {"mono": "x"}])
def test_what_is_no_entry_cannot_be_hashed_and_is_shown(change) -> None:
    changed = columns() | change
    assert full_entry(changed).hash_holds is None
    with pytest.raises(EntryError):
        entry_of(changed)


def test_escapes_are_visible_and_do_nothing() -> None:
    hostile = "\x1b[2J\u202e"
    full = full_entry(columns() | {"agent": hostile, "details": {hostile: hostile, "list": [hostile]}})
    assert all(text.isprintable() for fact in [*full.columns, *full.details] for text in (fact.name, fact.value))
    assert full.as_json.isascii()
    assert "\\u001b[2J\\u202e" in full.as_json
