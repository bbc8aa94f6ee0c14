"""Claim L4: the process is killed under load, and at each line of a commit. No effect is without its entry.

After each kill the files are verified as they lie there, against the newest checkpoint that was seen; then the next
life starts over them, which may not be refused.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading

import pytest
from killed_ledger import NO_WAIT, ON_THE_LOOP, Lives

from mycelos.configuration.layout import DataLayout
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.ledger.verification import verify_ledger

DEEP = os.environ.get("MYCELOS_TEST_DEPTH") == "deep"
ROUNDS = 1000 if DEEP else 10
LIVES = 25
"""Over one ledger; then a new one begins, so that looking through all of it stays cheap."""


def demand_settled(entries):
    """Each intent has its outcome, or was found without one by the start that followed, once."""
    intents = {entry.seq for entry in entries if entry.phase == "intent"}
    outcomes = {entry.intent_seq for entry in entries if entry.phase == "outcome"}
    unresolved = [entry.intent_seq for entry in entries if entry.event == "intent.unresolved"]
    assert len(unresolved) == len(set(unresolved))
    assert outcomes | set(unresolved) == intents
    assert not outcomes & set(unresolved)
    return len(unresolved)


def test_killed_under_load_no_effect_is_without_its_entry_and_the_ledger_holds(layout, short_directory):
    chosen = random.Random(5)
    effects = entries = unresolved = lives = 0
    with Lives(layout, short_directory, ON_THE_LOOP) as work:
        for number in range(ROUNDS):
            # One alone writes on the event loop's thread, several through the writer's.
            status = work.killed_under_load(chosen.randrange(60), chosen.random() / 200, chosen.choice((1, 8)))
            assert status == -signal.SIGKILL
            found = work.look()
            assert found.without_entry == []
            if number % LIVES == LIVES - 1 or number == ROUNDS - 1:
                assert work.started_and_stopped() == 0
                assert work.seen.started == work.seen.lives
                unresolved += demand_settled(work.entries())
                effects, entries = effects + len(work.seen.effects), entries + len(work.entries())
                lives += work.seen.lives
                root = short_directory / f"data-{number}"
                root.mkdir(mode=0o700)
                work.again(DataLayout(root))
    print(f"{ROUNDS} kills: {effects} effects seen, 0 without an entry; {entries} entries, {unresolved} unresolved")
    assert effects > 10 * ROUNDS
    assert unresolved > 0


@pytest.mark.parametrize("thread", ["", ON_THE_LOOP], ids=["writer's thread", "event loop's thread"])
def test_killed_before_any_line_of_a_commit_the_entry_is_there_or_nothing_happened(layout, short_directory, thread):
    killed, before_effect = 0, 0
    with Lives(layout, short_directory, thread) as work:
        while True:
            already = len(work.seen.effects)
            status = work.killed_at_step(killed)
            assert work.look().without_entry == []
            if status == 0:
                break
            assert status == -signal.SIGKILL
            before_effect += len(work.seen.effects) == already
            killed += 1
        assert work.started_and_stopped() == 0
        assert work.seen.started == work.seen.lives
        demand_settled(work.entries())
    # Of the intent's commit, and of the outcome's.
    assert before_effect > 20
    assert killed - before_effect > 20


def test_an_effect_that_does_not_wait_for_its_intent_is_seen_to_be_without_one(layout, short_directory):
    """The twin: the wall is taken away, and the same look finds the effect."""
    with Lives(layout, short_directory, NO_WAIT) as work:
        assert work.killed_at_step(0) == -signal.SIGKILL
        assert work.look().without_entry == ["0-0-0"]


@pytest.mark.parametrize("rounds", [50 if DEEP else 3])
def test_each_request_that_an_upstream_has_seen_of_a_killed_proxy_is_in_its_ledger(rounds):
    """The whole proxy, and requests over HTTP."""
    chosen = random.Random(6)
    with Upstream() as upstream, Twin(upstream.port) as proxy:
        for number in range(rounds):
            enough, wanted = threading.Event(), len(upstream.requests) + 1 + chosen.randrange(30)
            caller = threading.Thread(target=call_until_killed, args=(proxy, upstream, number, wanted, enough))
            caller.start()
            assert enough.wait(60)
            proxy._process.kill()
            caller.join(60)
            assert proxy._process.wait(60) == -signal.SIGKILL
            assert verify_ledger(proxy.layout.ledger, {}).result.fault is None
            intents = {entry.as_dict()["details"].get("path") for entry in proxy.entries() if entry.phase == "intent"}
            assert {request.split()[1] for request in upstream.requests} <= intents
            proxy.restart()
        proxy.stop()
        demand_settled(proxy.entries())
    assert len(upstream.requests) > rounds


def call_until_killed(proxy, upstream, life, wanted, enough):
    for number in itertools.count():
        try:
            proxy.use(f"http://127.0.0.1:{upstream.port}/bound/{life}-{number}")
        except CannotShowError:
            return
        if len(upstream.requests) >= wanted:
            enough.set()


@pytest.mark.parametrize("lost", ["ledger.signed", "ledger.sqlite-wal"])
def test_a_file_that_is_lost_in_a_crash_is_no_reason_to_go_on(layout, short_directory, lost):
    """What no kill does to the files: the start sees it, and takes nothing on record."""
    with Lives(layout, short_directory) as work:
        work.killed_under_load(20, 0.0, 8)
        (layout.proxy / lost).unlink()
        assert work.started_and_stopped() == 1
