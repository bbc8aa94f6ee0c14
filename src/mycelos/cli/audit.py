"""`mycelos db audit`: look at the ledger and export it, whether the system runs or not. Read-only."""

from __future__ import annotations

import difflib
import errno
import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import msgspec
from cyclopts import App, Parameter

from mycelos.cli.audit_proof import checkpoint, proof, with_next_step
from mycelos.cli.audit_record import record_export
from mycelos.cli.audit_table import show_entries
from mycelos.cli.audit_verify import verify_log
from mycelos.cli.data_directory import layout_of
from mycelos.cli.output import ExitCode, complain, fail, say
from mycelos.ledger.canonical import CanonicalError
from mycelos.ledger.entry import EntryError, entry_from_row
from mycelos.ledger.events import EVENTS_AND_AREAS
from mycelos.ledger.export import to_checkpoint_line, to_line
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.query import SOURCES
from mycelos.ledger.signed_note import NoteError
from mycelos.ledger.since import SinceError, parse_since
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mycelos.ledger.entry import Entry

POLL_INTERVAL: Final = 0.5

OF_EACH_EVENT: Final = 10
"""Of every suspicious event the newest so many are shown, whatever else there is."""

"""Seconds between two looks of ``--follow``."""

_NEXT_STEPS: Final = {
    errno.EEXIST: "name one that is not there yet, or move that one away",
    errno.ENOENT: "make its folder first",
    errno.ENOSPC: "make room on that disk",
}

app = App(name="audit", help="Look at the ledger of everything that crossed the proxy, and verify it.")
app.command(verify_log, name="verify")
app.command(checkpoint)
app.command(proof)


@app.default
def show(
    *,
    suspicious: Annotated[bool, Parameter(help="Only what matters to security.", negative="")] = False,
    since: Annotated[str | None, Parameter(help="A span such as 30m, 24h, 7d, or a time (RFC 3339).")] = None,
    type_: Annotated[str | None, Parameter(name="--type", help="An event such as run.started, or an area.")] = None,
    agent: Annotated[str | None, Parameter(help="Only this agent's.")] = None,
    run: Annotated[str | None, Parameter(help="Only this run's.")] = None,
    host: Annotated[str | None, Parameter(help="Only what is about this host.")] = None,
    outcome: Annotated[str | None, Parameter(help="Only what ended so, such as refused.")] = None,
    source: Annotated[str | None, Parameter(help=f"Only what one of these says: {', '.join(SOURCES)}.")] = None,
    before: Annotated[int | None, Parameter(help="Only entries before this number.")] = None,
    limit: Annotated[int, Parameter(help=f"Entries at most, up to {READ_LIMIT}.")] = 50,
    as_json: Annotated[bool, Parameter(name="--json", help="A list; with --follow, a line each.", negative="")] = False,
    follow: Annotated[bool, Parameter(help="Go on as entries come; Ctrl-C ends.", negative="")] = False,
) -> int:
    """Show the newest entries, oldest first; stderr says where more matched.

    With --suspicious the limit holds for what is known and for what the gateway claims, each: a flood of claims hides
    nothing.

    Example: mycelos db audit --suspicious --since 24h
    """
    if not 1 <= limit <= READ_LIMIT:
        return fail(f"--limit must be from 1 to {READ_LIMIT}", ExitCode.WRONG_USAGE)
    try:
        moment = parse_since(since, datetime.now(UTC)) if since is not None else None
    except SinceError as error:
        return fail(f"--since: {error}", ExitCode.WRONG_USAGE)
    if type_ is not None and type_ not in EVENTS_AND_AREAS:
        near = difflib.get_close_matches(type_, EVENTS_AND_AREAS, n=1, cutoff=0.0)
        return fail(
            f"--type: there is no event {type_}; the nearest one that exists is {near[0]}", ExitCode.WRONG_USAGE
        )
    if before is not None and not 0 <= before < 2**63:
        return fail("--before: expected the number of an entry", ExitCode.WRONG_USAGE)
    if source is not None and source not in SOURCES:
        return fail(f"--source: must be one of {', '.join(SOURCES)}", ExitCode.WRONG_USAGE)
    wanted = Filter(
        before=before,
        suspicious=suspicious,
        since=moment,
        event=type_,
        agent=agent,
        run=run,
        host=host,
        outcome=outcome,
        source=source,
    )
    try:
        with LedgerReader(layout_of(os.environ).ledger) as reader:
            # Read first, so that nothing which comes meanwhile is passed over.
            last = reader.last()
            found, more = _newest(reader, limit, wanted)
            if as_json and not follow:
                say("[" + ",\n".join(_json(entry.as_dict()) for entry in found) + "]")
            else:
                _show(found, as_json)
            for text in more:
                complain(text)
            if follow:
                _follow(reader, max(last, found[-1].seq if found else -1), wanted, as_json)
    except (LedgerError, EntryError) as error:
        return fail(str(error))
    return ExitCode.DONE


@app.command
def export(
    *,
    output: Annotated[Path | None, Parameter(help="A new file, mode 0600; standard output where absent.")] = None,
) -> int:
    """Write every entry and checkpoint, one JSON object a line; `verify --export` reads it back.

    That it is written is put on record first.

    Example: mycelos db audit export --output ledger.jsonl
    """
    layout = layout_of(os.environ)
    try:
        with LedgerReader(layout.ledger) as reader, _open_output(output) as stream:
            record_export(layout, reader, "standard output" if output is None else output.name)
            with reader.snapshot():
                stream.writelines(_lines(reader))
            stream.flush()
    except (LedgerError, EntryError, CanonicalError, NoteError) as error:
        return fail(with_next_step(str(error)))
    except OSError as error:
        number = error.errno or 0
        step = _NEXT_STEPS.get(number, "name another file with --output")
        return fail(f"{output or 'standard output'} cannot be written: {os.strerror(number)}; {step}")
    return ExitCode.DONE


def _lines(reader: LedgerReader) -> Iterator[bytes]:
    for item in reader.items():
        line = to_checkpoint_line(item) if isinstance(item, bytes) else to_line(entry_from_row(item))
        yield line + b"\n"


@contextmanager
def _open_output(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        yield stream


def _newest(reader: LedgerReader, limit: int, wanted: Filter) -> tuple[list[Entry], list[str]]:
    """What is shown, in order, and for each part of it of which more matched, a sentence that says so."""
    is_split = wanted.suspicious and wanted.source is None
    sources = ("known", "claimed") if is_split else (wanted.source,)
    parts = [msgspec.structs.replace(wanted, source=source) for source in sources]
    shown: dict[int, Entry] = {}
    more: list[str] = []
    with reader.snapshot():
        for part in parts:
            found = reader.newest(limit, part)
            shown |= {entry.seq: entry for entry in found}
            if len(found) == limit and (matched := reader.count(part)) > limit:
                named = option = also = ""
                if is_split:
                    # Whoever can cause one event without end must not push another one away.
                    each = min(limit, OF_EACH_EVENT)
                    shown |= {entry.seq: entry for entry in reader.newest_of_each_event(each, part)}
                    named, option = f" {part.source}", f" --source {part.source}"
                    also = f", and of every event the newest {each}"
                next_ones = f"the ones before: --before {found[0].seq}{option}"
                more.append(f"the newest {limit:,} of {matched:,}{named} that matched are shown{also}; {next_ones}")
    return [shown[seq] for seq in sorted(shown)], more


def _follow(reader: LedgerReader, last: int, wanted: Filter, as_json: bool) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            # SQLite has no way to tell another process that something was written.
            time.sleep(POLL_INTERVAL)
            newest = reader.last()
            batch = reader.after(last, READ_LIMIT, wanted)
            if batch:
                _show(batch, as_json, heads=False)
            # Up to there everything was looked through, whatever matched: no look walks over it again.
            last = max(newest if len(batch) < READ_LIMIT else last, batch[-1].seq if batch else -1)


def _show(entries: Sequence[Entry], as_json: bool, *, heads: bool = True) -> None:
    if as_json:
        for entry in entries:
            say(_json(entry.as_dict()))
    else:
        show_entries(entries, heads=heads)
    sys.stdout.flush()


def _json(value: dict[str, Any]) -> str:
    # ASCII only: nothing in it can drive a terminal.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
