"""`mycelos db audit`: look at the ledger, whether the system runs or not."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from mycelos.cli.audit_export import export
from mycelos.cli.audit_proof import checkpoint, proof
from mycelos.cli.audit_rebuild import rebuild_database
from mycelos.cli.audit_table import show_entries
from mycelos.cli.audit_verify import verify_log
from mycelos.cli.data_directory import layout_of
from mycelos.cli.output import ExitCode, complain, fail, say
from mycelos.ledger.entry import EntryError
from mycelos.ledger.events import EVENTS_AND_AREAS
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.query import SOURCES
from mycelos.ledger.since import SinceError, parse_since
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.ledger.entry import Entry

POLL_INTERVAL: Final = 0.5
"""Seconds between two looks of ``--follow``."""

OF_EACH_EVENT: Final = 10
"""Of every suspicious event the newest so many are shown, whatever else there is."""

app = App(name="audit", help="Look at the ledger of everything that crossed the proxy, and verify it.")
app.command(verify_log, name="verify")
app.command(checkpoint)
app.command(export)
app.command(proof)
app.command(rebuild_database, name="rebuild")


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
