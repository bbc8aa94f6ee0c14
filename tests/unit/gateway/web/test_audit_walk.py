from __future__ import annotations

from typing import Any

import pytest
from signed_log import SignedLog, grown

from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.web import audit_walk
from mycelos.gateway.web.audit_walk import Walked, walk
from mycelos.ledger.events import Event
from mycelos.ledger.verify import Verdict, Verification
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_walk, "MOST_ENTRIES", 4)


class Reading:
    """Entries as the door gives them; ``columns`` are what is given, whatever it is."""

    def __init__(self, columns: list[dict[str, Any]]) -> None:
        self.columns = columns

    async def __call__(self, *, after: int, before: int, limit: int) -> list[dict[str, Any]]:
        return self.columns[after + 1 : before][:limit]


async def walked(columns: list[dict[str, Any]], note: bytes | None) -> tuple[list[Walked], Verification]:
    kept = None if note is None else Kept.read(note.decode())
    *steps, verdict = [step async for step in walk(Reading(columns), kept, kept.size if kept else len(columns))]
    assert isinstance(verdict, Verification)
    return steps, verdict  # type: ignore[return-value]  # all but the last are steps


def columns_of(log: SignedLog) -> list[dict[str, Any]]:
    return [entry.as_dict() for entry in log.entries]


async def test_a_sound_ledger_is_walked_to_the_remembered_checkpoint_and_holds() -> None:
    log = grown(8, 3)
    steps, verdict = await walked(columns_of(log), log.note(10))
    assert steps == [Walked(4, 10), Walked(8, 10), Walked(10, 10)]
    assert (verdict.verdict, verdict.entries, verdict.compared) == (Verdict.HOLDS, 10, ("this gateway",))
    assert verdict.root == Kept.read(log.note(10).decode()).checkpoint.root
    assert verdict.reason.endswith("; signatures are not checked here")


@pytest.mark.parametrize(
    ("change", "at"),
    [
        (lambda columns: columns[5].update(agent="x"), 5),
        (lambda columns: columns[5].update(details=None), 5),
        (lambda columns: columns[5].pop("mono"), 5),
        (lambda columns: columns.pop(5), 5),
        (lambda columns: columns.insert(5, columns[4]), 5),
        (lambda columns: columns.reverse(), 0),
        (lambda columns: columns.clear(), 0),
        (lambda columns: columns.pop(), 8),
    ],
    ids=["edited", "no details", "a column gone", "deleted", "doubled", "reordered", "emptied", "cut off"],
)
async def test_what_was_changed_is_located(change: Any, at: int) -> None:
    log = grown(8)
    columns = columns_of(log)
    change(columns)
    _, verdict = await walked(columns, log.note())
    assert verdict.verdict is Verdict.BROKEN
    assert verdict.fault is not None
    assert verdict.fault.seq == at


async def test_a_ledger_written_anew_with_all_its_links_is_not_the_remembered_one() -> None:
    log, other = grown(8), grown(3)
    other.append(Event.PROXY_STARTED)
    other.fill(5)
    _, verdict = await walked(columns_of(other), log.note())
    assert verdict.verdict is Verdict.BROKEN
    assert verdict.fault is not None
    assert "this gateway remembers another root" in verdict.reason


async def test_where_nothing_is_remembered_it_cannot_tell() -> None:
    _, verdict = await walked(columns_of(grown(8)), None)
    assert verdict.verdict is not Verdict.HOLDS


async def test_a_proxy_that_stops_answering_is_no_verdict() -> None:
    async def away(**_query: int) -> list[dict[str, Any]]:
        raise Refusal(ProblemCode.PROXY_UNAVAILABLE, "away", "wait")

    with pytest.raises(Refusal):
        _ = [step async for step in walk(away, Kept.read(grown(8).note().decode()), 9)]
