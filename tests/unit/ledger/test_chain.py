from __future__ import annotations

import hashlib

import pytest

from mycelos.ledger.chain import EMPTY, GENESIS, Head, computed_hash, forerunner_of, leaf_hash
from mycelos.ledger.entry import COLUMNS, EntryError, body


def test_the_leaf_hash_is_that_of_rfc_6962():
    # RFC 6962, section 2.1: MTH({d(0)}) = SHA-256(0x00 || d(0)); the empty leaf's hash is a well-known value.
    assert leaf_hash(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").hexdigest()


def test_each_entry_follows_the_one_before_it(make_log):
    head = EMPTY
    for entry in make_log(5):
        assert (entry.seq, entry.prev_hash) == (head.seq + 1, head.leaf_hash)
        assert entry.leaf_hash == leaf_hash(body(entry))
        head = Head(entry.seq, entry.leaf_hash)


def test_the_first_entry_follows_32_zero_bytes(make_log):
    assert make_log(1)[0].prev_hash == GENESIS == "00" * 32


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "leaf_hash"])
def test_the_hash_covers_every_column(make_log, column):
    (entry,) = make_log(1)
    value = getattr(entry, column)
    changed = value + 1 if isinstance(value, int) else 1 if column == "intent_seq" else (value or "") + "x"
    if column == "details":
        changed = '{"host":"other.example"}'
    assert computed_hash(entry._replace(**{column: changed})) != entry.leaf_hash


def test_text_that_is_not_utf8_has_no_hash(make_log):
    (entry,) = make_log(1)
    assert computed_hash(entry._replace(run="\udcff")) != entry.leaf_hash


def test_a_walk_back_asks_of_each_entry_the_place_and_the_hash_that_the_one_behind_it_names(make_log):
    first, second, third = make_log(3)
    assert forerunner_of(third, 2, third.leaf_hash) == second.leaf_hash
    assert forerunner_of(first, 0, first.leaf_hash) == GENESIS
    changed = second._replace(reason="another")
    for entry, place, wanted, what in (
        (second, 2, second.leaf_hash, "entry 2 is missing"),
        (second, 1, first.leaf_hash, "entry 1 was changed"),
        (changed, 1, second.leaf_hash, "entry 1 was changed"),
        (second._replace(leaf_hash=first.leaf_hash), 1, first.leaf_hash, "entry 1 was changed"),
        (second._replace(leaf_hash=first.leaf_hash), 1, second.leaf_hash, "entry 1 was changed"),
    ):
        with pytest.raises(EntryError, match=what):
            forerunner_of(entry, place, wanted)
