from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_keys import change_from, ledger_keys

from mycelos.ledger.events import Event
from mycelos.ledger.log_keys import LogKeys
from mycelos.ledger.remembered import Memories
from mycelos.ledger.verify import Verdict
from mycelos.ledger.walk import Walk
from mycelos.proxy.ledger import keys
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.keys import origin_of, read_log_keys
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.signing import verifies

pytestmark = pytest.mark.anyio


def named(path):
    with LedgerReader(path) as reader:
        return read_log_keys(reader)


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        replace(ledger_keys(), mac_key=b"short")


def test_what_is_secret_is_not_in_the_text_of_the_keys():
    assert "mac_key" not in repr(ledger_keys())
    assert "sign=" not in repr(ledger_keys())


async def test_the_log_names_its_keys_in_order_and_keeps_its_origin(path, clock):
    first, second, third = (ledger_keys(number) for number in range(3))
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    for old, new in ((first, second), (second, third)):
        intent = await recorder.intent(Event.KEY_ROTATED, subject="ledger-signing", details=change_from(old, new))
        recorder.use(new)
        await recorder.outcome(intent, outcome="ok")
    assert recorder.key.public_key == third.public_key
    await recorder.intent(Event.KEY_ROTATED, subject="master-key", details={"name": "master-key"})
    await recorder.close()
    found = named(path)
    assert found.origin == origin_of(first.public_key)
    assert [key.public_key for key in found.keys] == [first.public_key, second.public_key, third.public_key]
    assert [key.public_key for key in found.accepted] == [third.public_key]
    again = await Recorder.open(path, clock, keys=lambda: third)
    await again.close()


HISTORIES = ["f", "a", "ax", "aru", "arar", "ararx", "arararus", "araruf", "arauxarx", "aufxax", "arfaruxs", "ausfaus"]
"""Of a log: a announces a key, r is the outcome of a refusal, s of a success, u puts the announced key to use, x is an
entry more, and f 300 of them."""


@pytest.mark.parametrize("history", HISTORIES)
async def test_a_start_takes_the_keys_that_verification_takes(path, clock, history):
    recorder, in_use, newest = await Recorder.open(path, clock, keys=ledger_keys), 0, 0
    for letter in history:
        if letter == "a":
            newest += 1
            intent = await recorder.intent(
                Event.KEY_ROTATED,
                subject="ledger-signing",
                details=change_from(ledger_keys(in_use), ledger_keys(newest)),
            )
        elif letter in "rs":
            await recorder.outcome(intent, outcome="ok" if letter == "s" else "refused")
        elif letter == "u":
            in_use = newest
            recorder.use(ledger_keys(in_use))
        else:
            await asyncio.gather(*(recorder.fact(Event.PROXY_STARTED) for _ in range(1 if letter == "x" else 300)))
        with LedgerReader(path) as reader:
            walked = LogKeys(verifies)
            Walk(walked, Memories({}), lambda _size: None).run(reader.items())
        found = named(path)
        assert found.accepted == walked.accepted
        assert found.keys[0].public_key == ledger_keys().public_key
        assert set(found.accepted) <= set(found.keys)
    await recorder.close()
    recorder = await Recorder.open(path, clock, keys=lambda: ledger_keys(in_use))
    await recorder.close()
    assert verify_ledger(path, {}).result.fault is None


async def test_a_key_that_came_into_use_voids_the_one_before_without_an_outcome(path, clock, monkeypatch):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.intent(Event.KEY_ROTATED, details=change_from(ledger_keys(0), ledger_keys(1)))
    recorder.use(ledger_keys(1))
    # Two groups in two tiles: a checkpoint of the new key stays.
    for _ in range(2):
        await asyncio.gather(*(recorder.fact(Event.PROXY_STARTED) for _ in range(200)))
    await recorder.close()
    with pytest.raises(LedgerError, match="not of the same time"):
        await Recorder.open(path, clock, keys=ledger_keys)
    # The twin: where the checkpoints are not looked at, the old key goes on, and the log does not hold from there on.
    monkeypatch.setattr(keys, "_take_in", lambda *_: None)
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert verify_ledger(path, {}).result.verdict is Verdict.BROKEN


async def test_a_change_that_its_keys_have_not_signed_is_no_change(path, clock):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    forged = change_from(ledger_keys(0), ledger_keys(1)) | {"previous_signature": "00" * 64}
    await recorder.intent(Event.KEY_ROTATED, details=forged)
    await recorder.close()
    with pytest.raises(LedgerError, match="signing key"):
        named(path)


async def test_between_announcement_and_change_the_old_key_and_the_new_one_are_taken(path, clock):
    recorder = await Recorder.open(path, clock, keys=ledger_keys)
    await recorder.intent(Event.KEY_ROTATED, details=change_from(ledger_keys(0), ledger_keys(1)))
    await recorder.close()
    for number in (0, 1):
        recorder = await Recorder.open(path, clock, keys=lambda number=number: ledger_keys(number))
        await recorder.close()
