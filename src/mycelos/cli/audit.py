"""`mycelos db audit`: look at the ledger and verify it, whether the system runs or not. Read-only."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from mycelos.cli.audit_table import show_entries
from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import complain
from mycelos.configuration.layout import DataLayout
from mycelos.ledger.canonical import CanonicalError
from mycelos.ledger.chain import Head
from mycelos.ledger.entry import EntryError
from mycelos.ledger.events import Event
from mycelos.ledger.export import row_from_line, to_line
from mycelos.ledger.since import SinceError, parse_since
from mycelos.ledger.verify import Fault, Verdict, Verification, verify
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import Remembered, remember, remembered_heads
from mycelos.proxy.ledger.reader import READ_LIMIT, Filter, LedgerReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mycelos.ledger.entry import Entry

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
POLL_INTERVAL: Final = 0.5
"""Seconds between two looks of ``--follow``."""

_TYPES: Final = sorted({*Event, *(event.partition(".")[0] for event in Event)})
"""Every event, and every area of events."""

app = App(name="audit", help="Look at the ledger of everything that crossed the proxy, and verify it.")


@app.default
def show(
    *,
    suspicious: Annotated[bool, Parameter(help="Only what matters to security.", negative="")] = False,
    since: Annotated[str | None, Parameter(help="A span such as 30m, 24h, 7d, or a time (RFC 3339).")] = None,
    type_: Annotated[str | None, Parameter(name="--type", help="An event such as run.started, or an area.")] = None,
    agent: Annotated[str | None, Parameter(help="Only this agent's.")] = None,
    run: Annotated[str | None, Parameter(help="Only this run's.")] = None,
    limit: Annotated[int, Parameter(help=f"Entries at most, up to {READ_LIMIT}.")] = 50,
    as_json: Annotated[bool, Parameter(name="--json", help="A list; with --follow, a line each.", negative="")] = False,
    follow: Annotated[bool, Parameter(help="Go on as entries come; Ctrl-C ends.", negative="")] = False,
) -> int:
    """Show the newest entries, oldest first.

    Example: mycelos db audit --suspicious --since 24h
    """
    if not 1 <= limit <= READ_LIMIT:
        return _fail(f"--limit must be from 1 to {READ_LIMIT}", WRONG_USAGE)
    try:
        moment = parse_since(since, datetime.now(UTC)) if since is not None else None
    except SinceError as error:
        return _fail(f"--since: {error}", WRONG_USAGE)
    if type_ is not None and type_ not in _TYPES:
        near = difflib.get_close_matches(type_, _TYPES, n=1, cutoff=0.0)
        return _fail(f"--type: there is no event {type_}; the nearest one that exists is {near[0]}", WRONG_USAGE)
    wanted = Filter(suspicious=suspicious, since=moment, event=type_, agent=agent, run=run)
    try:
        with LedgerReader(_layout().ledger) as reader:
            seen = reader.newest(1)
            found = reader.newest(limit, wanted)
            if as_json and not follow:
                print("[" + ",\n".join(_json(entry.as_dict()) for entry in found) + "]")
            else:
                _show(found, as_json)
            if follow:
                _follow(reader, max((entry.seq for entry in [*seen, *found]), default=-1), wanted, as_json)
    except (LedgerError, EntryError) as error:
        return _fail(str(error))
    return DONE


@app.command(name="verify")
def verify_log(
    *,
    export: Annotated[Path | None, Parameter(help="Verify this exported file instead of the ledger.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="The result as one JSON object.", negative="")] = False,
) -> int:
    """Walk every entry and compare with the heads that the gateway and the command line remember.

    Exit code 0: it holds. 1: it does not, and this says where. 6: nothing is wrong, but nothing was remembered either.

    Example: mycelos db audit verify
    """
    layout = _layout()
    # The heads are read first: whatever was remembered by now must be in what is read next.
    remembered = remembered_heads(layout)
    try:
        if export is not None:
            with export.open("rb") as stream:
                result = verify(map(row_from_line, stream), remembered.heads)
        else:
            result = _verify_ledger(layout, remembered)
    except OSError as error:
        return _fail(f"{export or layout.ledger} cannot be read: {os.strerror(error.errno or 0)}")
    except LedgerError as error:
        return _fail(str(error))
    result = _weigh(result, remembered)
    _report(result, as_json)
    if export is None and result.verdict is not Verdict.BROKEN and result.head.seq >= 0:
        try:
            remember(layout.command_line_head, result.head)
        except OSError as error:
            return _fail(f"{layout.command_line_head} cannot be written: {os.strerror(error.errno or 0)}")
    return result.exit_code


@app.command
def export(
    *,
    output: Annotated[Path | None, Parameter(help="A new file, mode 0600; standard output where absent.")] = None,
) -> int:
    """Write every entry, one JSON object a line; `verify --export` reads it back.

    Example: mycelos db audit export --output ledger.jsonl
    """
    try:
        with LedgerReader(_layout().ledger) as reader:
            lines = (to_line(entry) + b"\n" for entry in _entries(reader))
            if output is None:
                sys.stdout.buffer.writelines(lines)
                sys.stdout.buffer.flush()
            else:
                descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as stream:
                    stream.writelines(lines)
    except (LedgerError, EntryError, CanonicalError) as error:
        return _fail(f"{error}; run mycelos db audit verify")
    except OSError as error:
        return _fail(f"{output or 'standard output'} cannot be written: {os.strerror(error.errno or 0)}")
    return DONE


def _layout() -> DataLayout:
    return DataLayout(settings_of(os.environ).data_directory)


def _entries(reader: LedgerReader) -> Iterator[Entry]:
    last = -1
    while batch := reader.after(last, READ_LIMIT):
        yield from batch
        last = batch[-1].seq


def _verify_ledger(layout: DataLayout, remembered: Remembered) -> Verification:
    if remembered.heads and not layout.ledger.exists():
        # Where a head is remembered, a ledger that is gone altogether is a ledger whose end is missing.
        return verify([], remembered.heads)
    with LedgerReader(layout.ledger) as reader:
        result = verify(reader.rows(), remembered.heads)
        changed = reader.schema_faults()
    if changed and result.fault is None:
        what = "the table's definition or its guards were changed"
        fault = Fault(result.head.seq, what, "the schema that the proxy makes", f"changed: {', '.join(changed)}")
        return Verification(Verdict.BROKEN, what, result.entries, result.head, result.compared, fault)
    return result


def _weigh(result: Verification, remembered: Remembered) -> Verification:
    """A head that is there but cannot be read is evidence that is missing."""
    if not remembered.unreadable or result.verdict is not Verdict.HOLDS:
        return result
    reason = f"every link holds, but what {' and '.join(remembered.unreadable)} remembered cannot be read"
    return Verification(Verdict.CANNOT_TELL, reason, result.entries, result.head, result.compared, None)


def _follow(reader: LedgerReader, last: int, wanted: Filter, as_json: bool) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            # SQLite has no way to tell another process that something was written.
            time.sleep(POLL_INTERVAL)
            batch = reader.after(last, READ_LIMIT, wanted)
            if batch:
                last = batch[-1].seq
                _show(batch, as_json)


def _show(entries: Sequence[Entry], as_json: bool) -> None:
    if as_json:
        for entry in entries:
            print(_json(entry.as_dict()))
    else:
        show_entries(entries)
    sys.stdout.flush()


def _report(result: Verification, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"verdict": result.verdict.value, "reason": result.reason, "entries": result.entries}
        told |= {"head": _head(result.head), "compared": list(result.compared)}
        print(_json(told | {"fault": asdict(result.fault) if result.fault else None}))
        return
    words = {Verdict.HOLDS: "holds", Verdict.BROKEN: "does not hold", Verdict.CANNOT_TELL: "cannot tell"}
    print(f"{words[result.verdict]}: {result.reason}")
    if result.fault is not None:
        print(f"  entry     {result.fault.seq}")
        print(f"  expected  {result.fault.expected}")
        print(f"  found     {result.fault.found}")
    print(f"  entries   {result.entries}")
    if result.head.seq >= 0:
        print(f"  head      {result.head.seq} {result.head.leaf_hash}")
    if result.verdict is Verdict.CANNOT_TELL and result.head.seq >= 0:
        print("  This head is remembered now: from here on, a cut or a rewrite shows.")


def _head(head: Head) -> dict[str, Any] | None:
    return {"seq": head.seq, "leaf_hash": head.leaf_hash} if head.seq >= 0 else None


def _json(value: dict[str, Any]) -> str:
    # ASCII only: nothing in it can drive a terminal.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _fail(text: str, code: int = FAILED) -> int:
    complain(text)
    return code
