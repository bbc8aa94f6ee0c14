from __future__ import annotations

import json

import pytest
from signed_log import SignedLog, grown, head_of

from mycelos.ledger.canonical import canonical
from mycelos.ledger.entry import Entry
from mycelos.ledger.events import EVENTS, Event
from mycelos.ledger.export import LINE_LIMIT, item_from_line, to_checkpoint_line, to_line
from mycelos.ledger.fields import FIELDS, LIST_LIMIT, TEXT_LIMIT, FieldType
from mycelos.ledger.signed_note import NoteError
from mycelos.ledger.verify import RememberedNote, Verdict, verify
from mycelos.proxy.vault.signing import verifies

LOG = grown(2, 3)


def exported(log: SignedLog) -> list[bytes]:
    lines = (to_line(item) if isinstance(item, Entry) else to_checkpoint_line(item) for item in log.items())
    return [line + b"\n" for line in lines]


LINES = exported(LOG)
NOTE = RememberedNote(LOG.note())


def judged(lines, remembered=None, **known):
    return verify(map(item_from_line, lines), remembered or {}, verifies, **known)


def test_an_export_verifies_as_the_log_does():
    result = judged(LINES, {"a file": NOTE}, trusted=LOG.vkey())
    assert (result.verdict, result.entries, result.signed_size) == (Verdict.HOLDS, 6, 6)
    assert judged(LINES).verdict is Verdict.CANNOT_TELL
    assert judged([line.rstrip() for line in LINES], {"a file": NOTE}).verdict is Verdict.HOLDS


def test_a_line_gives_back_its_row_or_its_note():
    assert tuple(item_from_line(LINES[0])) == tuple(LOG.entries[0])
    assert item_from_line(LINES[1]) == LOG.notes[0][1]


@pytest.mark.parametrize("bit", [0, 5])
def test_every_flipped_byte_of_an_export_is_noticed(bit):
    """Bit 5 changes the case of a letter: an escape spelled otherwise would be the same text."""
    log = SignedLog()
    log.append(Event.PROXY_AUTH_FAILED, reason='\x1b\u202e"\\')
    log.sign()
    lines = exported(log)
    for number, line in enumerate(lines):
        for place in range(len(line)):
            flipped = line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :]
            data = b"".join([*lines[:number], flipped, *lines[number + 1 :]])
            result = judged(data.splitlines(keepends=True), trusted=log.vkey())
            assert result.verdict is Verdict.BROKEN, (number, place)


def test_an_export_that_was_cut_off_anywhere_is_noticed():
    data = b"".join(LINES)
    for end in range(len(data) - 1):
        result = judged(data[:end].splitlines(keepends=True), {"a file": NOTE})
        assert result.verdict is Verdict.BROKEN, end


def test_without_a_memory_a_cut_at_a_checkpoint_alone_passes():
    """Every other cut leaves an entry without a signature; who remembers nothing cannot tell this one."""
    held = [end for end in range(1, len(LINES) + 1) if judged(LINES[:end], trusted=LOG.vkey()).fault is None]
    assert [judged(LINES[:end]).signed_size for end in held] == [1, 3, 6]


def test_a_line_twice_or_in_another_place_is_noticed():
    for number, line in enumerate(LINES):
        for place in range(len(LINES) + 1):
            twice = [*LINES[:place], line, *LINES[place:]]
            assert judged(twice, {"a file": NOTE}).verdict is Verdict.BROKEN, (number, place)
            without = LINES[:number] + LINES[number + 1 :]
            moved = [*without[:place], line, *without[place:]]
            if moved != LINES:
                assert judged(moved, {"a file": NOTE}).verdict is Verdict.BROKEN, (number, place)


def test_a_line_less_is_noticed_unless_later_checkpoints_say_the_same():
    for number, line in enumerate(LINES):
        result = judged(LINES[:number] + LINES[number + 1 :], {"a file": NOTE})
        is_covered = b'"checkpoint":' in line and number != len(LINES) - 1
        assert result.verdict is (Verdict.HOLDS if is_covered else Verdict.BROKEN), number


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{}", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"checkpoint":1}', b'{"checkpoint":null}',
        b'{"checkpoint":"a","more":"b"}', b'{"checkpoint":"a","checkpoint":"a"}', b'{"checkpoint": "a"}',
        b'{"checkpoint":"\\ud800"}', b'{"checkpoint":"\\u0061"}', b'{"checkpoint":"a"}\r\n', b'{"checkpoint":"a"}\n\n',
        b' {"checkpoint":"a"}',
    ],
)  # fmt: skip
def test_a_line_that_is_neither_gives_a_row_that_fails(line):
    assert item_from_line(line) == ()
    assert judged([line]).fault.seq == 0


@pytest.mark.parametrize(
    "spell",
    [
        lambda columns: json.dumps(columns | {"extra": 1}),
        lambda columns: json.dumps({name: value for name, value in columns.items() if name != "run"}),
        lambda columns: json.dumps(columns, sort_keys=True),
        lambda columns: json.dumps(dict(reversed(columns.items())), separators=(",", ":")),
        lambda columns: json.dumps(columns | {"mono": 0.0}, sort_keys=True, separators=(",", ":")),
    ],
)
def test_an_entry_in_another_spelling_or_with_another_field_fails(spell):
    assert item_from_line(spell(json.loads(LINES[0])).encode()) == ()


def test_a_note_that_is_no_text_is_not_exported():
    with pytest.raises(NoteError):
        to_checkpoint_line(b"\xff")


def test_an_export_of_entries_alone_is_compared_by_its_head(make_log):
    log = make_log(10)
    result = judged(map(to_line, log), {"a file": head_of(log[-1])})
    assert (result.verdict, result.entries) == (Verdict.HOLDS, 10)


def test_the_longest_line_is_within_the_limit():
    longest = {FieldType.TEXT: "\U0001f3e0" * TEXT_LIMIT, FieldType.TEXTS: ["\U0001f3e0" * TEXT_LIMIT] * LIST_LIMIT}
    for event, rule in EVENTS.items():
        details = {name: longest.get(FIELDS[name], 1) for name in rule.fields}
        sizes = [len(canonical(name)) + len(canonical(value)) + 2 for name, value in details.items()]
        # Nine texts of 512 characters stand in the other columns, and what has a fixed length.
        assert sum(sizes) + 9 * 512 * 4 + 2000 < LINE_LIMIT, event
