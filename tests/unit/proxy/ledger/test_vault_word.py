"""The log's newest word on the vault: said again by the writer, found by the start without any index."""

from __future__ import annotations

import json
import queue

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.chain import Head, seal
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import STATES_VAULT, UNSIGNED, Event
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.signed_note import VerifierKey
from mycelos.prove.ledger_copy import forge_index, unguarded
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.queue import Append
from mycelos.proxy.ledger.rare_index import RARE
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.vault_word import EVERY, VaultWord, newest_word
from mycelos.proxy.ledger.writer import LedgerWriter

AT = {"vault_generation": 7, "vault_digest": "ab" * 32}
WORD = json.dumps(dict(sorted(AT.items())), separators=(",", ":"))


def draft(event=Event.PROXY_HTTP_REQUEST, phase=Phase.FACT, **about):
    return make_draft(event, phase, tenant="t", **about)


def entry(*arguments, **about):
    return seal(draft(*arguments, **about), Head(4, "00" * 32), 0, "2026-01-31T12:00:00.000000Z", 1)


@pytest.fixture
def log(path, clock):
    """Writes groups of drafts, signed, by a writer of its own; gives it back."""
    writers = []

    def make():
        delivered = queue.Queue()
        writer = LedgerWriter(path, delivered.put, clock)
        keys = ledger_keys()
        writer.sign_with(VerifierKey("a.log", keys.public_key), keys.sign)
        writers.append(writer)

        def write(*drafts):
            writer.submit(Append(drafts, None))
            ((_, result),) = delivered.get(timeout=20)
            return result

        writer.start()
        write.writer = writer
        return write

    yield make
    for writer in writers:
        writer.close()


def newest(path):
    with LedgerReader(path) as reader:
        found = newest_word(reader)
    return None if found is None else (found.seq, found.event)


def stated(path):
    with LedgerReader(path) as reader:
        return reader.newest(10_000, Filter(event=Event.LEDGER_VAULT_STATED))


def test_what_is_said_again_is_not_in_the_index_which_stays_small():
    assert Event.LEDGER_VAULT_STATED in STATES_VAULT
    assert Event.LEDGER_VAULT_STATED not in RARE


def test_nothing_is_said_before_anything_was():
    assert VaultWord().drafts() == VaultWord(since=10_000).drafts() == ()
    word = VaultWord().after([entry(), entry(Event.PROXY_STARTED), entry(reason='"vault_digest":')])
    assert word == VaultWord("", 3)
    assert word.drafts() == ()


def test_the_newest_word_counts_and_how_far_back_it_lies():
    said = entry(Event.CREDENTIAL_DELETED, Phase.OUTCOME, intent_seq=1, details=AT | {"label": "x"})
    word = VaultWord("older", 400).after([entry(), said, entry(), entry()])
    assert word == VaultWord(said.details, 2)
    assert word.after([entry()] * (EVERY - 3)).drafts() == ()
    (again,) = word.after([entry()] * (EVERY - 2)).drafts()
    assert (again.event, again.phase, again.details) == (Event.LEDGER_VAULT_STATED, Phase.FACT, WORD)


def test_the_writer_says_it_again_so_that_it_is_never_far_from_the_end(log, path):
    write = log()
    write(draft(), draft(Event.PROXY_STARTED, details=AT))
    for _ in range(EVERY):
        write(draft())
    assert stated(path) == []
    write(draft(), draft())
    (again,) = stated(path)
    assert (again.seq, again.details, again.source) == (EVERY + 2, WORD, "proxy")
    assert newest(path) == (again.seq, Event.LEDGER_VAULT_STATED)
    write(*[draft() for _ in range(EVERY)])
    write(draft())
    assert [one.details for one in stated(path)] == [WORD, WORD]
    # Another life knows nothing of it before it says something itself.
    write.writer.close()
    write = log()
    write(*[draft() for _ in range(2 * EVERY)])
    write(draft())
    assert len(stated(path)) == 2
    assert newest(path) == (stated(path)[-1].seq, Event.LEDGER_VAULT_STATED)


def test_a_change_after_it_is_the_newest_word(log, path):
    write = log()
    write(draft(Event.PROXY_STARTED, details=AT))
    write(*[draft() for _ in range(EVERY)])
    (changed,) = write(draft(Event.LOCKDOWN_SET, details=AT | {"vault_generation": 8}))
    assert stated(path)[0].seq == changed.seq - 1
    assert newest(path) == (changed.seq, Event.LOCKDOWN_SET)
    write(*[draft() for _ in range(EVERY)])
    write(draft())
    assert json.loads(stated(path)[-1].details)["vault_generation"] == 8


def test_a_group_that_was_not_written_says_nothing(log, path, monkeypatch):
    write = log()
    write(draft(Event.PROXY_STARTED, details=AT))
    with monkeypatch.context() as broken:
        broken.setattr("mycelos.proxy.ledger.writer.insert_entries", _refuse)
        assert not isinstance(write(draft(Event.LOCKDOWN_SET, details=AT | {"vault_generation": 8})), list)
    write(*[draft() for _ in range(EVERY)])
    write(draft())
    assert stated(path)[-1].details == WORD


def test_a_group_that_is_there_although_its_commit_failed_is_not_forgotten(log, path, monkeypatch):
    write = log()
    write(draft(Event.PROXY_STARTED, details=AT))
    with monkeypatch.context() as broken:
        broken.setattr(write.writer._last_signed, "write", _refuse)
        assert not isinstance(write(draft(Event.LOCKDOWN_SET, details=AT | {"vault_generation": 8})), list)
    write(*[draft() for _ in range(EVERY)])
    write(draft())
    assert json.loads(stated(path)[-1].details)["vault_generation"] == 8


def _refuse(*_):
    raise OSError(5, "the disk refuses")


def test_a_log_without_a_word_has_none(log, path):
    assert newest_of_empty(log, path) is None
    log()(draft(), draft(Event.PROXY_STARTED))
    assert newest(path) is None


def newest_of_empty(log, path):
    log().writer.close()
    return newest(path)


@pytest.mark.parametrize("more", [1, 2, 253, 254])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET reason = 'x' WHERE seq = (SELECT max(seq) FROM audit_events)",
        "UPDATE audit_events SET reason = 'x' WHERE seq = 3",
        "UPDATE audit_events SET event = 'tool.called' WHERE seq = 1",
        "UPDATE audit_events SET leaf_hash = prev_hash WHERE seq = 3",
        "UPDATE audit_events SET prev_hash = leaf_hash WHERE seq = 3",
        "UPDATE audit_events SET v = 2 WHERE seq = 3",
        "DELETE FROM audit_events WHERE seq = 3",
        "UPDATE audit_events SET leaf_hash = 'x' WHERE seq = (SELECT max(seq) FROM audit_events)",
    ],
)
def test_every_row_on_the_way_is_one_that_was_signed(log, path, change, more):
    # With 253 more the log is a whole tile: then nothing but the tile's own hash binds its rows.
    write = log()
    write(draft(), draft(Event.PROXY_STARTED, details=AT), *[draft() for _ in range(1 + more)])
    assert newest(path) == (1, Event.PROXY_STARTED)
    write.writer.close()
    with unguarded(path) as intruder:
        intruder.execute(change)
    with pytest.raises(LedgerError):
        newest(path)


def test_rows_of_a_whole_tile_that_were_written_anew_with_all_their_links_are_not_the_signed_ones(log, path):
    """Of another tile the leaves themselves make the root, which `demand_signed_end` holds against the signature."""
    more = 253
    write = log()
    write(draft(), draft(Event.PROXY_STARTED, details=AT), *[draft() for _ in range(1 + more)])
    write.writer.close()
    with LedgerReader(path) as reader:
        head = Head(0, reader.entry(0).leaf_hash)
    forged = []
    for _ in range(2 + more):
        forged.append(seal(draft(Event.TOOL_CALLED), head, 0, "2026-01-31T12:00:00.000000Z", 1))
        head = Head(forged[-1].seq, forged[-1].leaf_hash)
    with unguarded(path) as intruder:
        intruder.execute("DELETE FROM audit_events WHERE seq > 0")
        intruder.executemany(f"INSERT INTO audit_events VALUES ({', '.join('?' * len(forged[0]))})", forged)
    with pytest.raises(LedgerError, match="does not hold near its end"):
        newest(path)


@pytest.mark.parametrize("gone", ["seq <= 1", "true"])
def test_a_log_whose_beginning_is_gone_does_not_pass_for_one_that_says_nothing(log, path, gone):
    write = log()
    # More than a tile: its stored hash stands for the rows that are gone.
    write(draft(), draft(Event.PROXY_STARTED, details=AT), *[draft() for _ in range(300)])
    write.writer.close()
    with unguarded(path) as intruder:
        intruder.execute(f"DELETE FROM audit_events WHERE {gone}")
    with pytest.raises(LedgerError, match="is missing"):
        newest(path)


def test_what_may_stand_behind_the_signed_end_speaks_of_no_vault():
    assert UNSIGNED.isdisjoint(STATES_VAULT)


def test_no_index_is_asked(log, path):
    write = log()
    write(draft(Event.PROXY_STARTED, details=AT), draft())
    write.writer.close()
    forge_index(path, where="false")
    assert newest(path) == (0, Event.PROXY_STARTED)
