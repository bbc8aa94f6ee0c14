"""The one index of `audit_events`: over rare events, so that a start finds them without walking the log.

An index can lie: whoever writes the file can leave an entry out of it. So it is believed only where it was held
against the rows, and it is read by the same two statements that were compared, `RISING` and `FALLING`: what an altered
index shows to the comparison, it shows to every reader.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import ANCHORED, Event
from mycelos.ledger.fault import Fault
from mycelos.ledger.log_keys import KEY_EVENTS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

RARE: Final = KEY_EVENTS | {event.value for event in (*ANCHORED, Event.INTENT_UNRESOLVED)}
"""What a start asks for, wherever it stands. All of it is said by the operator or by the proxy itself, and nothing that
a gateway or a stranger can do makes more of it than a start's `intent.unresolved`, whose number has a limit."""

_NAMES: Final = [f"'{name}'" for name in sorted(RARE)]
# Not IN, for which SQLite makes a table of the names anew in each statement that inserts: 6 µs, and this 0.5 at most.
_IS_RARE: Final = f"({' OR '.join(f'event = {name}' for name in _NAMES)})"

INDEX: Final = f"CREATE INDEX audit_events_rare ON audit_events (event) WHERE {_IS_RARE}"
"""Its list is a part of the schema: a change of `RARE` is a change of `SCHEMA_VERSION`."""

_BY_INDEX: Final = f"SELECT seq, event FROM audit_events INDEXED BY audit_events_rare WHERE {_IS_RARE} AND event = ?"  # noqa: S608 - names from code
# The event is that of the index, which SQLite does not look up in the row.
RISING: Final = f"{_BY_INDEX} ORDER BY seq"
"""Number and event of each entry of one rare event. Without the index it is an error, never a walk over the log."""
FALLING: Final = f"{_BY_INDEX} ORDER BY seq DESC"
"""The same from the newest back."""
_IN_ROWS: Final = f"SELECT seq, event FROM audit_events NOT INDEXED WHERE event IN ({', '.join(_NAMES)})"  # noqa: S608 - names from code

_FIRST: Final = -(2**63)
"""The least number that a row can have."""
_LEFT_OUT: Final = "the index of rare entries leaves this entry out"
_ADDED: Final = "the index of rare entries has an entry that the log has not"
_DISORDERED: Final = "the index of rare entries is not in order"


def index_fault(connection: sqlite3.Connection) -> Fault | None:
    """The first entry at which index and rows differ; None where they agree. It walks every row.

    Raises:
        sqlite3.Error: there is no such index, or it is damaged.
    """
    return tail_index_fault(connection, connection.execute(_IN_ROWS), _FIRST)


def tail_index_fault(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]], first: int) -> Fault | None:
    """The same for the end of the log: number and event of each of its ``rows``, from number ``first`` on.

    Of what lies before only the order is looked at.

    Raises:
        sqlite3.Error: as `index_fault`.
    """
    wanted = defaultdict(set)
    for seq, event in rows:
        if event in RARE:
            wanted[event].add(seq)
    faults = (_fault(connection, event, wanted[event], first) for event in sorted(RARE))
    return min((fault for fault in faults if fault is not None), key=lambda fault: fault.seq, default=None)


def _fault(connection: sqlite3.Connection, event: str, wanted: set[int], first: int) -> Fault | None:
    walks = []
    # Both ways: each is read by, and one may miss what the other meets.
    for statement, way in ((RISING, 1), (FALLING, -1)):
        found: set[int] = set()
        before = None
        for seq, of_index in connection.execute(statement, (event,)):
            if of_index != event:
                return Fault(seq, _DISORDERED, f"{event} at {seq}", "something else among these")
            if before is not None and (seq - before) * way <= 0:
                return Fault(seq, _DISORDERED, f"each {event} once, by its number", f"{seq} after {before}")
            found.add(seq)
            before = seq
        there = {seq for seq in found if seq >= first}
        if there != wanted:
            seq = min(there ^ wanted)
            told = (f"{event} at {seq}", f"no {event} at {seq}")
            return Fault(seq, _LEFT_OUT, *told) if seq in wanted else Fault(seq, _ADDED, *told[::-1])
        walks.append(found)
    if walks[0] != walks[1]:
        seq = min(walks[0] ^ walks[1])
        return Fault(seq, _DISORDERED, f"{event} at {seq} from both ends", "from one of them")
    return None
