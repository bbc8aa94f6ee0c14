"""A proxy's stores at work in a process of its own, with effects that a test sees, and ways to kill it.

The process forks once for each life, so that a life costs no start of an interpreter. What a life sends over its socket
is an effect: it was seen whether or not the process lives on.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Entry
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger

PATIENCE = 60.0
"""Seconds, a bound against hanging."""

PROGRAM = textwrap.dedent("""
    import asyncio, os, signal, socket, sys, threading
    from contextlib import AsyncExitStack
    from pathlib import Path

    from mycelos.configuration.layout import DataLayout
    from mycelos.ledger.events import Event
    from mycelos.proxy.ledger.last_signed import LastSigned
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.ledger.writer import LedgerWriter
    from mycelos.proxy.main import open_stores

    STEPS = {f.__code__ for f in (LedgerWriter._write, LedgerWriter._commit, LedgerWriter._sign, LastSigned.write)}
    left = None

    def die_at_step(frame, event, _argument):
        # At each line of what makes a group durable, once `left` is set: so many lines are still run.
        global left
        if frame.f_code not in STEPS:
            return None
        if event == "line" and left is not None:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return die_at_step

    async def effect(recorder, upstream, run):
        intent = await recorder.intent(Event.PROXY_HTTP_REQUEST, run=run)
        # Bytes that leave the process: from here on the effect has happened.
        upstream.send(f"EFFECT {run} {intent.seq} {intent.leaf_hash}\\n{recorder.checkpoint}".encode())
        await recorder.outcome(intent, outcome="ok")
        upstream.send(f"DONE {run} {intent.seq} -\\n{recorder.checkpoint}".encode())

    async def produce(recorder, upstream, name):
        number = 0
        while True:
            await effect(recorder, upstream, f"{name}-{number}")
            number += 1

    async def live(layout, upstream, life, producers, steps):
        global left
        async with AsyncExitStack() as stack:
            vault, recorder = await open_stores(layout, bytes(range(32)), stack, os.environ)
            await recorder.fact(Event.PROXY_STARTED, outcome="ok", details=vault.state.anchor_details())
            vault.state.demand_announced()
            upstream.send(b"STARTED - -1 -\\n" + recorder.checkpoint.encode())
            if producers == 0:
                return
            if steps >= 0:
                # Until the writer's thread waits: only then may what is alone be written on this one.
                while not recorder._writer._queue._is_awaited:
                    await asyncio.sleep(0.001)
                left = steps
                await effect(recorder, upstream, f"{life}-0-0")
                left = None
                return
            async with asyncio.TaskGroup() as group:
                for number in range(producers):
                    group.create_task(produce(recorder, upstream, f"{life}-{number}"))

    def child(address, root, life, producers, steps):
        upstream = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        upstream.connect(address)
        upstream.send(b"PID - %d -\\n" % os.getpid())
        if steps >= 0:
            threading.settrace(die_at_step)
            sys.settrace(die_at_step)
        asyncio.run(live(DataLayout(Path(root)), upstream, life, producers, steps))

    for line in sys.stdin:
        address, root, life, producers, steps = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                child(address, root, life, int(producers), int(steps))
            except BaseException as error:
                print(f"life {life}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
""")

NO_WAIT = textwrap.dedent("""
    from mycelos.proxy.ledger import recorder as module

    async def intent(self, event, **about):
        self.note(event, **about)
        return module.Receipt(0, "0" * 64, event, {name: "" for name in module._SUBJECTS})

    module.Recorder.intent = intent
    module.Recorder.outcome = lambda self, intent, **about: self.fact(module.Event.PROXY_STARTED)
""")
"""Run before the program: effects that do not wait for their intent."""

ON_THE_LOOP = textwrap.dedent("""
    from mycelos.proxy.ledger import writer

    writer.QUICK = float("inf")
""")
"""Run before the program: what is alone is written on the event loop's thread, however slow the disk is."""


@dataclass
class Seen:
    """What came out of all lives over one ledger."""

    effects: dict[str, tuple[int, str]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    checkpoint: str = ""
    lives: int = 0
    started: int = 0


@dataclass(frozen=True)
class Found:
    """What the files say after a kill."""

    entries: int
    without_entry: list[str]


class Lives:
    """One life after the other over ``layout``."""

    def __init__(self, layout: DataLayout, folder: Path, before: str = "") -> None:
        self._layout = layout
        self.seen = Seen()
        self._address = str(folder / "up")
        Path(self._address).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self._address)
        self._listener.listen(1)
        self._listener.settimeout(PATIENCE)
        self._forge = subprocess.Popen(
            [sys.executable, "-c", before + PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._forge.stdin is not None
        assert self._forge.stdout is not None
        self._forge.stdin.close()
        self._forge.wait(PATIENCE)
        self._forge.stdout.close()
        self._listener.close()

    def again(self, layout: DataLayout) -> None:
        """Go on with another ledger, of which nothing was seen."""
        self._layout, self.seen = layout, Seen()

    def killed_under_load(self, effects: int, longer: float, producers: int) -> int:
        """Start, kill once so many effects were seen and ``longer`` seconds have gone; the exit status."""
        with self._life(producers, -1) as (pid, messages):
            for kind in messages(None):
                effects -= kind == "EFFECT"
                if effects < 0:
                    break
            for _ in messages(longer):
                pass
            os.kill(pid, signal.SIGKILL)
            for _ in messages(None):
                pass
        return self._status()

    def killed_at_step(self, steps: int) -> int:
        """Start, and kill before the line with this number of what makes one intent and its outcome durable."""
        with self._life(1, steps) as (_, messages):
            for _ in messages(None):
                pass
        return self._status()

    def started_and_stopped(self) -> int:
        """Start, record the start, stop."""
        with self._life(0, -1) as (_, messages):
            for _ in messages(None):
                pass
        return self._status()

    def look(self) -> Found:
        """The files as they lie there, against everything that was seen. Asserts that chain, tree, signatures hold."""
        if not self.seen.checkpoint:
            return Found(0, sorted(self.seen.effects))
        note = RememberedNote(self.seen.checkpoint.encode())
        result = verify_ledger(self._layout.ledger, {"the test": note}).result
        assert (result.verdict, result.fault) == (Verdict.HOLDS, None), result
        entries = self.entries()
        found = {entry.run: entry for entry in entries if entry.phase == "intent"}
        missing = [
            run
            for run, (seq, leaf_hash) in self.seen.effects.items()
            if run not in found or (found[run].seq, found[run].leaf_hash) != (seq, leaf_hash)
        ]
        outcomes = {entry.intent_seq for entry in entries if entry.phase == "outcome"}
        assert set(self.seen.done.values()) <= outcomes or missing
        return Found(len(entries), missing)

    def entries(self) -> list[Entry]:
        """All of them."""
        found: list[Entry] = []
        with LedgerReader(self._layout.ledger) as reader:
            while batch := reader.after(len(found) - 1, READ_LIMIT):
                found += batch
        return found

    @contextmanager
    def _life(self, producers: int, steps: int) -> Iterator[tuple[int, Callable[[float | None], Iterator[str]]]]:
        assert self._forge.stdin is not None
        life = self.seen.lives
        self.seen.lives += 1
        self._forge.stdin.write(f"{self._address} {self._layout.root} {life} {producers} {steps}\n")
        self._forge.stdin.flush()
        connection, _ = self._listener.accept()
        with connection:
            pid = int(connection.recv(4096).split()[2])

            def messages(seconds: float | None) -> Iterator[str]:
                # For so many seconds, or until the other end is gone.
                end = None if seconds is None else time.monotonic() + seconds
                left = PATIENCE if seconds is None else seconds
                while left > 0 and select.select([connection], [], [], left)[0]:
                    data = connection.recv(4096).decode()
                    if not data:
                        return
                    yield self._note(data)
                    left = PATIENCE if end is None else end - time.monotonic()
                assert end is not None, "nothing came in a minute"

            yield pid, messages

    def _note(self, data: str) -> str:
        head, checkpoint = data.split("\n", 1)
        kind, run, seq, leaf_hash = head.split()
        self.seen.checkpoint = max(checkpoint, self.seen.checkpoint, key=_size)
        if kind == "EFFECT":
            self.seen.effects[run] = int(seq), leaf_hash
        elif kind == "DONE":
            self.seen.done[run] = int(seq)
        else:
            self.seen.started += 1
        return kind

    def _status(self) -> int:
        assert self._forge.stdout is not None
        return int(self._forge.stdout.readline())


def _size(note: str) -> int:
    return int(note.split("\n")[1]) if note else -1
