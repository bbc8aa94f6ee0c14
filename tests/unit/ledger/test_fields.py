from __future__ import annotations

import re

import pytest

from mycelos.ledger.events import EVENTS
from mycelos.ledger.fields import FIELDS

NAMES_OF_SECRETS = re.compile(
    r"secret|password|passwd|plaintext|bearer|cookie|authorization|header|body|query|fragment|private|"
    r"credential$|^key$|^token$|^value$|^url$|^args|^content$|^text$|^prompt$"
)


def test_every_field_of_an_event_is_declared_and_every_declared_field_is_used():
    used = frozenset().union(*(rule.fields for rule in EVENTS.values()))
    assert used == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_field_is_a_place_for_a_secret(name):
    assert not NAMES_OF_SECRETS.search(name)
