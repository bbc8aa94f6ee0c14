from __future__ import annotations

import pytest
from signed_log import grown

from mycelos.ledger.items import interleaved

LOG = grown(2, 3)
FIRST, SECOND, THIRD = LOG.notes


@pytest.mark.parametrize(
    ("kept", "newest", "expected"),
    [
        ([], None, "aaa"),
        ([(2, b"x")], None, "aaxa"),
        ([(0, b"w"), (2, b"x"), (3, b"y"), (9, b"z")], None, "awaxayz"),
        ([(2, b"x"), (2, b"y")], None, "aaxya"),
        ([FIRST], SECOND[1], "a1aa2"),
        ([FIRST, SECOND], SECOND[1], "a1aa2"),
        ([SECOND], FIRST[1], "a1aa2"),
        ([], THIRD[1], "aaa3"),
        ([], b"no note", "aaan"),
    ],
)
def test_a_checkpoint_stands_behind_the_last_entry_that_it_covers(kept, newest, expected):
    names = {FIRST[1]: "1", SECOND[1]: "2", THIRD[1]: "3", b"no note": "n"}
    found = interleaved("aaa", kept, newest)

    order = "".join(names.get(item, item.decode() if isinstance(item, bytes) else item) for item in found)
    assert order == expected


def test_without_entries_the_checkpoints_are_all_there_is():
    assert list(interleaved([], LOG.notes)) == [note for _, note in LOG.notes]
