from __future__ import annotations

import pytest
from ledger_keys import ledger_keys

from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import CountFilter
from mycelos.ledger.merkle import Frontier, ProofError, verify_consistency, verify_inclusion
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.view import LedgerView, SavedLog

pytestmark = pytest.mark.anyio


async def test_what_is_read_needs_no_writer(recorder, path):
    tree, roots = Frontier(), []
    for number in range(20):
        receipt = await recorder.fact(Event.PROXY_HTTP_REQUEST, run=str(number))
        list(tree.append(bytes.fromhex(receipt.leaf_hash)))
        roots.append(tree.root())
    await recorder.close()
    view = LedgerView(path)
    assert [entry.run for entry in await view.events(EventQuery(after=17))] == ["18", "19"]
    assert [entry.run for entry in await view.events(EventQuery(limit=1))] == ["19"]
    assert (await view.entry(4)).run == "4"
    assert await view.entry(20) is None
    assert (await view.summary(CountFilter(since="2000"))).entries == 20
    for size in range(1, 21):
        for seq in range(size):
            leaf = bytes.fromhex((await view.entry(seq)).leaf_hash)
            verify_inclusion(leaf, seq, size, await view.inclusion(seq, size), roots[size - 1])
        verify_consistency(size, 20, await view.consistency(size, 20), roots[size - 1], roots[19])


async def test_nothing_is_proven_of_entries_that_are_not_there(recorder, path):
    await recorder.fact(Event.PROXY_STARTED)
    view = LedgerView(path)
    with pytest.raises(ProofError, match="has 1 entries, not 2"):
        await view.inclusion(0, 2)
    with pytest.raises(ProofError, match="has 1 entries, not 2"):
        await view.consistency(1, 2)


async def test_the_newest_checkpoint_is_the_one_in_the_database(tmp_path):
    signed, unsigned = tmp_path / "a" / "ledger.sqlite", tmp_path / "b" / "ledger.sqlite"
    recorder = await Recorder.open(signed, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    # As after a power cut: it was never flushed.
    signed.with_suffix(".signed").write_bytes(bytes(512))
    assert SavedLog(signed).checkpoint == recorder.checkpoint
    await recorder.close()
    await (await Recorder.open(unsigned)).close()
    assert SavedLog(unsigned).checkpoint is None
