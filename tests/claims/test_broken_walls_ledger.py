"""For the probes of the ledger: each wall is taken away, and the probe sees it."""

from __future__ import annotations

import asyncio

import pytest
from ledger_keys import ledger_keys, note_of
from taken_walls import broken

from mycelos.ledger.chain import Head
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.remembered import Memories
from mycelos.ledger.walk import Walk
from mycelos.prove import trail
from mycelos.prove.ledger_copy import unguarded
from mycelos.prove.outcome import Standing
from mycelos.prove.run import prove
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT

NO_INTENT = """
    from mycelos.proxy.ledger import recorder

    async def intent(self, event, **about):
        return recorder.Receipt(0, "0" * 64, event, {name: "" for name in recorder._SUBJECTS})

    recorder.Recorder.intent = intent
"""
HERE = "find a fault in the {} entries here"


def write_ledger(layout, *sizes):
    """A signed log, beside a vault, with a checkpoint at each of these sizes; the newest one."""
    Vault.open(layout, bytes(32)).close()

    async def write():
        recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
        for size in sizes:
            drafts = (
                make_draft(
                    Event.PROXY_SSRF_BLOCKED if seq % 3 else Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT
                )
                for seq in range(recorder.head.seq + 1, size)
            )
            await recorder._submit(tuple(drafts))
        note = recorder.checkpoint
        await recorder.close()
        return note

    return asyncio.run(write())


def missed(attempt, installation):
    """What did not hold in one of a probe's attempts."""
    return {finding.tried for finding in attempt(installation) if not finding.held}


@pytest.fixture
def remembered(stopped):
    """A stopped installation with a log of 300 entries, the newest checkpoint of which the gateway remembers."""
    remember(stopped.layout.gateway_head, write_ledger(stopped.layout, 200, 300))
    return stopped


def test_f1_a_proxy_that_goes_on_without_its_ledger_is_seen(stopped, proxy_without):
    proxy_without(NO_INTENT)
    assert "see it arrive all the same" in broken(stopped, "F1")


def test_l2_a_ledger_that_was_tampered_with_is_seen(remembered):
    with unguarded(remembered.layout.ledger) as connection:
        connection.execute("UPDATE audit_events SET outcome = 'harmless' WHERE seq = 4")
    assert broken(remembered, "L2") == {HERE.format(4)}


@pytest.mark.parametrize(
    ("change", "walked"),
    [
        ("DELETE FROM audit_events WHERE seq = 4", 4),
        ("DELETE FROM audit_events WHERE seq >= 280", 280),
        ("DELETE FROM checkpoints", 300),
        ("UPDATE tree_nodes SET hash = zeroblob(32)", 300),
        ("CREATE INDEX fast ON audit_events (event) WHERE seq < 9", 300),
    ],
)
def test_l2_so_is_anything_else_that_was_done_to_it(remembered, change, walked):
    with unguarded(remembered.layout.ledger) as connection:
        connection.execute(change)
    (said,) = missed(trail.probe_verification, remembered)
    assert said == HERE.format(walked)


def _believe(memories, *_):
    memories._borne_out = list(memories._waiting)


LOOKS_AWAY = {
    "what entries say": (
        [("mycelos.ledger.walk._leaf", lambda *_: b""),
         ("mycelos.ledger.walk.computed_hash", lambda entry: entry.leaf_hash)],
        {"edit an entry in a copy"},
    ),
    "links": (
        [("mycelos.ledger.walk._leaf", lambda *_: b""),
         ("mycelos.ledger.walk.link", lambda row, head: Head(head.seq + 1, row[20]))],
        {f"{what} an entry in a copy" for what in ("edit", "delete", "insert")} | {"exchange two entries in a copy"},
    ),
    "signatures": (
        [("mycelos.proxy.ledger.verification.verifies", lambda *_: True)],
        {"change the newest checkpoint in a copy"},
    ),
    "what was remembered": (
        [(Memories, "check", _believe), (Memories, "demand_end", lambda *_: None)],
        {"cut the end off with its checkpoints in a copy", "write everything anew in a copy"},
    ),
    "entries that nobody has signed": (
        [(Walk, "demand_signed_end", lambda _: None)],
        {"append an entry in a copy"},
    ),
    "the stored tree": (
        [(LedgerReader, "stored_nodes", lambda _: {})],
        {"change a hash of the stored tree in a copy"},
    ),
    "ledger.signed": (
        [("mycelos.proxy.ledger.verification.read_last_signed", lambda _: b"")],
        {f"{what} in a copy" for what in (
            "change ledger.signed", "take ledger.signed away", "take the newest checkpoint away"
        )},
    ),
    "the index": (
        [(LedgerReader, "index_fault", lambda _: None)],
        {"leave an entry out of the index in a copy"},
    ),
    "the guards": (
        [(LedgerReader, "schema_faults", lambda _: [])],
        {"make another guard in a copy"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("wall", LOOKS_AWAY)
def test_l2_a_verification_that_looks_away_is_seen(remembered, monkeypatch, wall):
    patches, expected = LOOKS_AWAY[wall]
    for patch in patches:
        monkeypatch.setattr(*patch)
    assert missed(trail.probe_verification, remembered) == expected


def test_l2_without_a_remembered_checkpoint_nothing_is_claimed(stopped):
    write_ledger(stopped.layout, 12)
    (result,) = prove(stopped, ["L2"])
    assert result.standing is Standing.CANNOT_TELL
    assert "audit verify" in result.obstacle


def test_l2_a_checkpoint_of_the_future_is_seen(remembered):
    remember(remembered.layout.gateway_head, note_of(999))
    assert missed(trail.probe_verification, remembered) == {HERE.format(300)}


def test_l2_a_start_that_does_not_ask_how_far_the_log_was_signed_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.ledger import signed_end

        signed_end._demand_last_signed = lambda *_: None
    """)
    assert missed(trail.probe_forks, stopped) == {
        "go on from an old copy of its ledger",
        "go on where ledger.signed is gone",
    }


def test_l2_a_start_that_takes_what_the_key_has_not_signed_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.ledger import signed_end

        signed_end._demand_known_tail = lambda *_: None
    """)
    assert missed(trail.probe_forks, stopped) == {"go on behind an entry that it has not written"}


def test_l3_a_filter_that_hides_a_suspicious_event_is_seen(stopped, monkeypatch):
    write_ledger(stopped.layout, 12)
    monkeypatch.setattr("mycelos.proxy.ledger.reader.SUSPICIOUS", frozenset({Event.PROXY_AUTH_FAILED}))
    assert broken(stopped, "L3") == {"find suspicious events that the filter hides"}


def test_l4_a_proxy_that_does_not_record_is_seen(stopped, proxy_without):
    proxy_without(NO_INTENT)
    assert "see a request arrive that is not on record yet" in broken(stopped, "L4")


def test_l4_a_door_that_takes_any_event_from_the_gateway_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.ledger.events import Event
        from mycelos.proxy.ledger import recorder

        recorder._claimable = Event
    """)
    assert "let the gateway append what only the operator can say" in broken(stopped, "L4")
