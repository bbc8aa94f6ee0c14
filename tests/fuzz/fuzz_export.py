"""A line of an export: whatever it is, no error; what it gives is written as the same line, and holds in no place."""

from __future__ import annotations

from signed_log import grown

from mycelos.ledger import export
from mycelos.ledger.canonical import canonical
from mycelos.ledger.entry import COLUMNS, Entry, EntryError, entry_from_row
from mycelos.ledger.export import item_from_line, to_checkpoint_line, to_line
from mycelos.ledger.verify import Verdict, verify

LOG = grown(2)
LINES = [to_line(item) if isinstance(item, Entry) else to_checkpoint_line(item) for item in LOG.items()]
# The first byte says what is put before the rest.
BEFORE = (b"", b'{"checkpoint":', b'{"checkpoint":"')
SEEDS = [
    *(b"\x00" + line for line in [*LINES, LINES[0] + b"\n", b'{"checkpoint":"a"}', b"[]", b"1e5"]),
    b'\x01"\\u00e4"}',
    b'\x02a"}',
]
WORDS = [
    b'{"checkpoint":"', b'{"checkpoint": ', b'"}', b" ", b"\\u00", b"\\ud800", b"null", b"NaN", b"1.0", b"-0", b"\n",
    b"{}", b'":',
    *(f'"{name}":'.encode() for name in COLUMNS),
]  # fmt: skip


def one_input(data: bytes) -> None:
    whole = BEFORE[data[0] % len(BEFORE)] + data[1:] if data else b""
    item = item_from_line(whole)
    line = whole.removesuffix(b"\n")
    if isinstance(item, bytes):
        assert canonical({"checkpoint": item.decode()}) == line, "a checkpoint has two spellings"
    elif item:
        try:
            entry = entry_from_row(item)
        except EntryError:
            pass
        else:
            assert canonical(entry.as_dict()) == line, "an entry has two spellings"
    result = verify([item], {}, None)
    assert result.verdict is not Verdict.HOLDS, "nothing was remembered"
    # One entry holds by itself where it is the first of a log; all else is a fault.
    assert result.verdict is Verdict.BROKEN or result.entries == 1


class _Any(bytes):
    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


def plant() -> None:
    """A line may be spelled in several ways."""
    export.canonical = lambda value: _Any(canonical(value))
