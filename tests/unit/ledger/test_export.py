from __future__ import annotations

import json

import pytest

from mycelos.ledger.export import row_from_line, to_line
from mycelos.ledger.verify import Verdict, verify


def test_an_exported_log_verifies_as_the_log_does(make_log):
    lines = [to_line(entry) for entry in make_log(10)]
    result = verify(map(row_from_line, lines), {})
    assert (result.verdict, result.entries) == (Verdict.CANNOT_TELL, 10)


def test_a_line_gives_back_its_row(make_log):
    (entry,) = make_log(1)
    assert tuple(row_from_line(to_line(entry))) == tuple(entry)


def test_every_flipped_byte_of_an_export_is_noticed(make_log):
    (line,) = map(to_line, make_log(1))
    for place in range(len(line)):
        flipped = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert verify([row_from_line(flipped)], {}).verdict is Verdict.BROKEN, f"byte {place}"


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b"null", b"[" * 100_000])
def test_a_line_that_is_no_entry_gives_a_row_that_fails(line):
    assert verify([row_from_line(line)], {}).fault.seq == 0


def test_a_line_with_a_field_more_fails(make_log):
    columns = json.loads(to_line(make_log(1)[0])) | {"extra": 1}
    assert row_from_line(json.dumps(columns).encode()) == ()
