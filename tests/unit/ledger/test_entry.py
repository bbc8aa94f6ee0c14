from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
import rfc8785
from hypothesis import given

from mycelos.ledger.canonical import canonical
from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import (
    COLUMN_LIMIT,
    COLUMNS,
    Entry,
    EntryError,
    Phase,
    body,
    entry_from_row,
    make_draft,
    read_details,
)
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.fields import TEXT_LIMIT
from mycelos.ledger.text import escape, shorten

GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "ledger" / "entry-v1.json").read_text(encoding="utf-8"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.integers(0, 2**53 - 1)


def draft(event=Event.PROXY_HTTP_REQUEST, phase=Phase.FACT, **about):
    return make_draft(event, phase, tenant="tenant_x", **about)


@st.composite
def entries(draw):
    texts = {name: draw(TEXT) for name in COLUMNS}
    numbers = {name: draw(NUMBER) for name in ("seq", "v", "epoch", "mono")}
    optional = {"intent_seq": draw(st.none() | NUMBER), "args_mac": draw(st.none() | TEXT)}
    details = canonical(draw(st.dictionaries(st.sampled_from(["host", "port", "path"]), TEXT | NUMBER))).decode()
    return Entry(**(texts | numbers | optional | {"details": details}))


@given(entries())
def test_the_body_written_by_hand_is_the_canonical_form_of_all_columns_but_the_leaf_hash(entry):
    columns = entry.as_dict()
    del columns["leaf_hash"]
    assert body(entry) == canonical(columns) == rfc8785.dumps(columns)


def test_entry_v1_is_as_the_golden_file_has_it():
    about = dict(GOLDEN["draft"])
    made = make_draft(Event(about.pop("event")), Phase(about.pop("phase")), **about)
    entry = seal(made, EMPTY, **GOLDEN["place"])
    assert body(entry).decode() == GOLDEN["body"]
    assert entry.as_dict() == GOLDEN["entry"]


def test_the_columns_are_those_of_the_contract():
    assert list(COLUMNS) == list(GOLDEN["columns"])


def test_the_source_is_the_event_s_own():
    assert draft(Event.RUN_STARTED).source is Source.GATEWAY
    assert draft(Event.CREDENTIAL_STORED).source is Source.OPERATOR


def test_a_field_that_the_event_does_not_hold_is_refused_by_name():
    with pytest.raises(EntryError, match=r"details\.secret: proxy\.http_request"):
        draft(details={"secret": "hunter2"})


def test_a_refused_field_s_name_is_escaped_and_its_value_never_shown():
    with pytest.raises(EntryError) as caught:
        draft(details={"\x1b[31m": "hunter2"})
    assert "\x1b" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "details",
    [
        {"port": "443"},
        {"port": True},
        {"port": 2**53},
        {"port": 1.0},
        {"host": 1},
        {"host": ["a"]},
        {"truncated": 1},
        {"addresses": "a"},
        {"addresses": [1]},
        {"addresses": ["a"] * 65},
        {"host": {"a": 1}},
    ],
    ids=repr,
)
def test_a_field_of_the_wrong_type_is_refused(details):
    with pytest.raises(EntryError, match=f"details.{next(iter(details))} must be of the type"):
        draft(details=details)


def test_a_detail_that_is_none_is_left_out():
    assert draft(details={"host": None, "port": 1}).details == '{"port":1}'


def test_control_characters_are_escaped_on_append():
    made = draft(run="a\x1b[2Jb", reason="two\nlines", details={"host": "\x00", "addresses": ["\u202e"]})
    assert made.run == "a\\u001b[2Jb"
    assert made.reason == "two\\u000alines"
    assert json.loads(made.details) == {"host": "\\u0000", "addresses": ["\\u202e"]}


def test_long_text_is_shortened():
    made = draft(subject="x" * 10_000, details={"path": "/" * 10_000})
    assert len(made.subject) == COLUMN_LIMIT
    assert len(json.loads(made.details)["path"]) == TEXT_LIMIT


MESSY = st.text(max_size=40) | st.text(st.sampled_from('ab"\\\x1b\u202e\ud800漢'), max_size=600)
DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "host": MESSY | st.none(),
        "path": MESSY,
        "port": st.integers(1 - 2**53, 2**53 - 1),
        "truncated": st.booleans(),
        "addresses": st.lists(MESSY, max_size=4) | st.lists(MESSY, max_size=4).map(tuple),
    },
)


@given(DETAILS)
def test_details_written_by_hand_are_the_canonical_form_of_what_was_cleaned(details):
    cleaned = {}
    for name, value in details.items():
        if isinstance(value, str):
            cleaned[name] = shorten(escape(value), TEXT_LIMIT)
        elif isinstance(value, list | tuple):
            cleaned[name] = [shorten(escape(text), TEXT_LIMIT) for text in value]
        elif value is not None:
            cleaned[name] = value
    expected = canonical(cleaned)
    assert draft(details=details).details.encode() == expected == rfc8785.dumps(cleaned)


@given(st.lists(MESSY, min_size=7, max_size=7))
def test_columns_looked_at_together_are_cleaned_as_each_by_itself(texts):
    names = ("principal", "actor", "run", "agent", "subject", "outcome", "reason")
    made = draft(**dict(zip(names, texts, strict=True)))
    assert [getattr(made, name) for name in names] == [shorten(escape(text), COLUMN_LIMIT) for text in texts]


@pytest.mark.parametrize("event", Event)
def test_the_fields_of_each_event_sort_by_their_names_whatever_follows_them(event):
    fields = EVENTS[event].fields
    assert sorted(fields) == sorted(fields, key=lambda name: f'"{name}":')


@pytest.mark.parametrize(("phase", "intent_seq"), [(Phase.OUTCOME, None), (Phase.FACT, 1), (Phase.INTENT, 1)])
def test_an_outcome_names_its_intent_and_nothing_else_does(phase, intent_seq):
    with pytest.raises(EntryError, match="intent_seq"):
        draft(phase=phase, intent_seq=intent_seq)


def test_an_entry_larger_than_64_kib_is_refused():
    addresses = ["漢" * TEXT_LIMIT] * 30
    with pytest.raises(EntryError, match="65535 bytes"):
        seal(draft(details={"addresses": addresses}), EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0)


def test_a_row_gives_back_its_entry(make_log):
    (entry,) = make_log(1)
    assert entry_from_row(list(entry)) == entry


@pytest.mark.parametrize(
    ("column", "value"),
    [("seq", "0"), ("seq", None), ("v", 2), ("at", None), ("mono", 1.0), ("args_mac", 1), ("run", b"x")],
)
def test_a_row_with_a_column_of_the_wrong_type_or_another_version_is_refused(make_log, column, value):
    (entry,) = make_log(1)
    with pytest.raises(EntryError, match="column"):
        entry_from_row(entry._replace(**{column: value}))


def test_a_row_with_too_few_columns_is_refused(make_log):
    (entry,) = make_log(1)
    with pytest.raises(EntryError, match="21 columns"):
        entry_from_row(entry[:-1])


@pytest.mark.parametrize("details", ["", "[]", "{", "1"])
def test_details_that_are_no_object_are_refused_when_read(make_log, details):
    (entry,) = make_log(1)
    with pytest.raises(EntryError, match="entry 0: details"):
        entry._replace(details=details).as_dict()


def test_a_waiting_draft_weighs_what_its_texts_do():
    assert draft(reason="x" * 100).size == draft().size + 100


DEEP = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize("details", [DEEP, "[]", "{", "1"])
def test_details_that_were_changed_are_an_error_and_no_crash(details: str) -> None:
    row = (1, 1, 0, "", 0, "proxy.started", "fact", None, "proxy", *[""] * 8, None, details, "", "")
    with pytest.raises(EntryError, match="entry 1: details is not a JSON object"):
        entry_from_row(row).as_dict()
    assert read_details(entry_from_row(row)) == {}
