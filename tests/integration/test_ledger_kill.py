"""The ledger's process is killed under load: what it acknowledged is there, and the chain holds."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from mycelos.ledger.verify import Verdict, verify
from mycelos.proxy.ledger.heads import Head
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio

# Prints "INTENT seq hash" after each durable intent and "OUTCOME intent" after each durable outcome, without end.
PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from mycelos.ledger.events import Event
from mycelos.proxy.ledger.recorder import Recorder

def say(text):
    os.write(1, text.encode())

async def producer(recorder, name):
    while True:
        intent = await recorder.intent(Event.PROXY_HTTP_REQUEST, run=name)
        say(f"INTENT {intent.seq} {intent.leaf_hash}\\n")
        await recorder.outcome(intent, outcome="ok")
        say(f"OUTCOME {intent.seq} -\\n")

async def main():
    recorder = await Recorder.open(Path(sys.argv[1]))
    async with asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(producer(recorder, str(number)))

asyncio.run(main())
"""


def run_and_kill(path, lines_before_kill):
    """Start the program, kill it once it has said so many lines, and return what it said."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE)
    said = bytearray()
    try:
        while said.count(b"\n") < lines_before_kill:
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, "the writer said nothing for a minute"
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, "the writer ended by itself"
            said += piece
    finally:
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        process.stdout.close()
        assert process.wait(60) == -signal.SIGKILL
    # The last line may be cut off; the others are whole.
    return [line.split() for line in said.decode().splitlines() if len(line.split()) == 3]


@pytest.mark.parametrize("rounds", [6])
async def test_after_kill_9_every_acknowledged_entry_is_there_and_the_chain_holds(layout, rounds):
    acknowledged, settled = {}, set()
    for number in range(rounds):
        for kind, seq, leaf_hash in run_and_kill(layout.ledger, 40 + 160 * number):
            if kind == "INTENT":
                acknowledged[int(seq)] = leaf_hash
            else:
                settled.add(int(seq))

        recorder = await Recorder.open(layout.ledger)
        await recorder.close()

        with LedgerReader(layout.ledger) as reader:
            newest = max(acknowledged)
            result = verify(reader.rows(), {"the test": Head(newest, acknowledged[newest])})
            assert (result.verdict, result.fault) == (Verdict.HOLDS, None)
            entries = {entry.seq: entry for entry in reader.after(-1, 10_000)}

        assert all(entries[seq].leaf_hash == leaf_hash for seq, leaf_hash in acknowledged.items())
        outcomes = {entry.intent_seq for entry in entries.values() if entry.phase == "outcome"}
        unresolved = [entry.intent_seq for entry in entries.values() if entry.event == "intent.unresolved"]
        intents = {entry.seq for entry in entries.values() if entry.phase == "intent"}
        assert settled <= outcomes
        assert len(unresolved) == len(set(unresolved))
        assert outcomes | set(unresolved) == intents
        assert not outcomes & set(unresolved)
