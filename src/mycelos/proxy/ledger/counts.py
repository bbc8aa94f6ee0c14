"""Counting the ledger for the page: per hour, outcome and host, and what left for which agent and run.

One of the three files with SQL on the ledger, beside `database` and `reader`. Read-only, and never over more than
`MOST_COUNTED` entries: the gateway asks for it, and a gateway that asks all day must not hold the proxy up.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.events import OUTSIDE, SUSPICIOUS
from mycelos.ledger.text import escape
from mycelos.proxy.ledger.database import LedgerError, open_for_reading
from mycelos.proxy.ledger.reader import HOST, clauses
from mycelos.wire.audit import AuditSummary, HostCount, HourCount, LeftCount, OutcomeCount

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mycelos.ledger.log_filter import CountFilter

MOST_COUNTED: Final = 100_000
"""Entries that are looked at, from the newest back."""
MOST_HOURS: Final = 31 * 24
MOST_HOSTS: Final = 20
MOST_LEFT: Final = 50
MOST_OUTCOMES: Final = 20
_SHOWN: Final = 128
"""Characters of a host, an agent or a run that are grouped by: what a caller makes up can be much longer."""


def _listed(events: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(events))


def _bytes(name: str) -> str:
    value = f"CASE WHEN json_valid(details) THEN json_extract(details, '$.{name}') END"
    return f"CASE typeof({value}) WHEN 'integer' THEN min(max({value}, 0), 1 << 40) ELSE 0 END"


_LOOKED: Final = f"""
CREATE TEMP TABLE looked AS
    SELECT seq, at, substr(at, 1, 13) AS hour, substr(outcome, 1, {_SHOWN}) AS outcome,
        substr(run, 1, {_SHOWN}) AS run, substr(agent, 1, {_SHOWN}) AS agent, substr({HOST}, 1, {_SHOWN}) AS host,
        event IN ({_listed(OUTSIDE)}) AND phase = 'intent' AS is_left,
        event IN ({_listed(OUTSIDE)}) AND phase = 'outcome' AS is_ended,
        source = 'proxy' AND phase = 'fact' AND outcome = 'refused' AS is_refused,
        event IN ({_listed(SUSPICIOUS)}) AS is_suspicious,
        {_bytes("bytes_sent")} AS sent, {_bytes("bytes_received")} AS received
    FROM audit_events WHERE {{conditions}}
"""  # noqa: S608 - names from code
_OF_HOURS: Final = """
SELECT hour, count(*), sum(is_left), sum(is_refused), sum(is_suspicious)
FROM looked GROUP BY hour ORDER BY hour DESC LIMIT ?
"""
_OF_OUTCOMES: Final = """
SELECT outcome, count(*) AS times FROM looked WHERE is_ended OR is_refused
GROUP BY outcome ORDER BY times DESC, outcome LIMIT ?
"""
# By place and not by time: the clock may have been set back. A column beside max(seq) is of that row
# (https://sqlite.org/lang_select.html#bareagg).
_OF_HOSTS: Final = """
SELECT host, sum(is_left) AS went, sum(is_refused) AS kept, sum(sent * is_ended), sum(received * is_ended), at,
    count(*) OVER (), max(seq)
FROM looked WHERE host <> '' GROUP BY host HAVING went + kept > 0
ORDER BY went DESC, kept DESC, host LIMIT ?
"""
_OF_WHAT_LEFT: Final = """
SELECT host, agent, run, sum(is_left) AS went, sum(sent * is_ended), sum(received * is_ended), at,
    count(*) OVER (), max(seq) AS newest
FROM looked WHERE is_left OR is_ended GROUP BY host, agent, run HAVING went > 0
ORDER BY newest DESC LIMIT ?
"""


def summarize(path: Path, wanted: CountFilter, most: int = MOST_COUNTED) -> AuditSummary:
    """Count what matches ``wanted``, whose ``since`` must be there, among the newest ``most`` entries.

    Raises:
        LedgerError: the file cannot be read as a ledger.
    """
    connection = open_for_reading(path)
    try:
        # No temporary file: the process that counts may write to few folders. One state of the log for all of it.
        connection.executescript("PRAGMA temp_store=MEMORY; BEGIN")
        return _summary(connection, wanted, most)
    except sqlite3.Error as error:
        message = f"{path} cannot be counted ({type(error).__name__}); run mycelos db audit verify"
        raise LedgerError(message) from None
    finally:
        connection.close()


def _summary(connection: sqlite3.Connection, wanted: CountFilter, most: int) -> AuditSummary:
    ((last,),) = connection.execute("SELECT coalesce(max(seq), -1) FROM audit_events")
    first = max(0, last - most + 1)
    conditions, values = clauses(wanted)
    looked = _LOOKED.format(conditions=" AND ".join(["seq BETWEEN ? AND ?", *conditions]))
    connection.execute(looked, [first, last, *values])

    def rows(statement: str, most: int) -> list[tuple[Any, ...]]:
        # A row that was written past the ledger cannot drive a display, nor break the answer's encoding.
        return [
            tuple(escape(value) if isinstance(value, str) else value for value in row)
            for row in connection.execute(statement, [most])
        ]

    ((entries,),) = connection.execute("SELECT count(*) FROM looked")
    before = connection.execute("SELECT at FROM audit_events WHERE seq = ?", [first - 1]).fetchone()
    outcomes = [OutcomeCount(*row) for row in rows(_OF_OUTCOMES, MOST_OUTCOMES)]
    hours, hosts = rows(_OF_HOURS, MOST_HOURS), rows(_OF_HOSTS, MOST_HOSTS)
    left = rows(_OF_WHAT_LEFT, MOST_LEFT)
    return AuditSummary(
        since=wanted.since or "",
        first_seq=first,
        last_seq=last,
        complete=before is None or before[0] < (wanted.since or ""),
        entries=entries,
        hours=[HourCount(*row) for row in hours],
        outcomes=outcomes,
        hosts=[HostCount(*row[:-2]) for row in hosts],
        hosts_total=hosts[0][-2] if hosts else 0,
        left=[LeftCount(*row[:-2]) for row in left],
        left_total=left[0][-2] if left else 0,
    )
