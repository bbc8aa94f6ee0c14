from __future__ import annotations

import asyncio
import base64

import pytest
from damaged_table import damage
from egress_house import House, answer, call_for, serve
from ledger_keys import ledger_keys
from proxy_doors import client, make_door

from mycelos.ledger.checkpoint import open_checkpoint
from mycelos.ledger.events import Event
from mycelos.ledger.merkle import Frontier, verify_consistency, verify_inclusion
from mycelos.ledger.query import EventQuery
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy import audit_routes
from mycelos.proxy.audit_routes import READINGS
from mycelos.proxy.ledger.database import LedgerUnavailableError
from mycelos.proxy.vault.signing import verifies

pytestmark = pytest.mark.anyio


async def test_entries_are_read_by_each_filter(house: House) -> None:
    await house.recorder.fact(Event.PROXY_STARTED)
    intent = await house.recorder.intent(Event.PROXY_HTTP_REQUEST, run="r1", subject="a.example", details={})
    await house.recorder.outcome(intent, outcome="ok")
    await house.recorder.fact(Event.PROXY_SSRF_BLOCKED, outcome="refused", details={"host": "10.0.0.1"})
    async with client(make_door(house)) as asking:
        for query, expected in (
            ({"before": 2}, [0, 1]),
            ({"before": 3, "limit": 1}, [2]),
            ({"after": 0, "before": 3}, [1, 2]),
            ({"outside": "true"}, [1, 2]),
            ({"outcome": "ok"}, [2]),
            ({"host": "a.example"}, [1, 2]),
            ({"host": "10.0.0.1"}, [3]),
            ({"suspicious": "true"}, [3]),
        ):
            entries = (await asking.get("/audit/events", params=query)).json()["entries"]
            assert [entry["seq"] for entry in entries] == expected, query


async def test_what_left_the_machine_is_counted(house: House) -> None:
    async with serve(answer(b"hello")) as upstream:
        await house.store(upstream.port)
        pipeline = house.pipeline(upstream.port)
        url = f"http://127.0.0.1:{upstream.port}/"
        async with pipeline.open(call_for(url, service="github", run="run_1", agent="assistant")) as exchange:
            assert exchange
    async with client(make_door(house)) as asking:
        found = (await asking.get("/audit/summary", params={"since": "1h", "run": "run_1"})).json()
        assert [(one["host"], one["agent"], one["left"]) for one in found["left"]] == [("127.0.0.1", "assistant", 1)]
        assert found["complete"]
        assert (await asking.get("/audit/summary")).json()["entries"] >= found["entries"]
        for key, value in (("since", "zzz"), ("limit", "1"), ("suspicious", "true")):
            refused = await asking.get("/audit/summary", params={key: value})
            assert (refused.status_code, refused.json()["detail"].partition(":")[0]) == (400, key)


async def test_a_proof_leads_from_an_entry_to_the_newest_checkpoint(house: House) -> None:
    for _ in range(6):
        await house.recorder.fact(Event.PROXY_STARTED)
    house.recorder.use(ledger_keys())
    await house.recorder.fact(Event.PROXY_STARTED)
    async with client(make_door(house)) as asking:
        newest = (await asking.get("/audit/checkpoint")).json()
        key = VerifierKey.parse(newest["key"])
        signed = open_checkpoint(newest["checkpoint"].encode(), key.name, [key], verifies)
        for seq in range(signed.size):
            found = (await asking.get("/audit/proof/inclusion", params={"seq": seq})).json()
            assert (found["size"], found["checkpoint"]) == (signed.size, newest["checkpoint"])
            path = [base64.b64decode(text) for text in found["path"]]
            verify_inclusion(bytes.fromhex(found["leaf_hash"]), seq, signed.size, path, signed.root)
        within = (await asking.get("/audit/proof/inclusion", params={"seq": 1, "size": 3})).json()
        assert (within["checkpoint"], len(within["path"])) == (None, 2)
        found = (await asking.get("/audit/proof/consistency", params={"old": 4, "new": signed.size})).json()
        path = [base64.b64decode(text) for text in found["path"]]
        old = Frontier()
        for entry in (await house.recorder.events())[:4]:
            list(old.append(bytes.fromhex(entry.leaf_hash)))
        verify_consistency(4, signed.size, path, old.root(), signed.root)


async def test_before_anything_is_signed_there_is_no_checkpoint_and_no_proof_without_a_size(house: House) -> None:
    await house.recorder.fact(Event.PROXY_STARTED)
    async with client(make_door(house)) as asking:
        assert (await asking.get("/audit/checkpoint")).json() == {"checkpoint": None, "key": None}
        assert (await asking.get("/audit/proof/inclusion", params={"seq": 0})).status_code == 400
        assert (await asking.get("/audit/proof/inclusion", params={"seq": 0, "size": 1})).json()["path"] == []


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("checkpoint", {"seq": "1"}, "the query has a key"),
        ("proof/inclusion", {}, "seq"),
        ("proof/inclusion", {"seq": "0", "sizes": "1"}, "sizes"),
        ("proof/inclusion", {"seq": "-1"}, "seq"),
        ("proof/inclusion", {"seq": "5", "size": "1"}, "a tree of 1 entries has no entry 5"),
        ("proof/inclusion", {"seq": "0", "size": "9"}, "the ledger has 1 entries"),
        ("proof/consistency", {"old": "0"}, "new"),
        ("proof/consistency", {"old": "2", "new": "1"}, "a tree of 1 entries holds none of 2"),
        ("proof/consistency", {"old": "0", "new": "9"}, "the ledger has 1 entries"),
    ],
)
async def test_a_question_that_nothing_answers_names_what_is_wrong(
    house: House, path: str, query: dict[str, str], named: str
) -> None:
    await house.recorder.fact(Event.PROXY_STARTED)
    async with client(make_door(house)) as asking:
        refused = await asking.get(f"/audit/{path}", params=query)
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith(named)


class SlowLedger:
    """A ledger whose searches end when the test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.busy = asyncio.Event()
        self.under_way = 0

    async def events(self, _wanted: EventQuery) -> list[object]:
        self.under_way += 1
        self.busy.set()
        await self.go.wait()
        return []


async def flood(house: House, ledger: SlowLedger, asked: int) -> int:
    """How many searches go on at a time where so many were asked for."""
    async with client(make_door(house, ledger=ledger)) as asking, asyncio.TaskGroup() as group:
        tasks = [group.create_task(asking.get("/audit/events")) for _ in range(asked)]
        async with asyncio.timeout(10):
            await ledger.busy.wait()
        # Turns of the loop enough for each to get as far as it can.
        for _ in range(1000):
            await asyncio.sleep(0)
        under_way = ledger.under_way
        ledger.go.set()
    assert [task.result().status_code for task in tasks] == [200] * asked
    return under_way


async def test_a_gateway_that_asks_without_end_waits_for_itself(house: House) -> None:
    assert await flood(house, SlowLedger(), READINGS * 4) == READINGS


async def test_without_that_bound_it_takes_every_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the wall away and sees the attack succeed."""
    monkeypatch.setattr(audit_routes, "READINGS", 1000)
    assert await flood(house, SlowLedger(), READINGS * 4) == READINGS * 4


@pytest.mark.parametrize("table", ["audit_events", "tree_nodes"])
async def test_a_damaged_file_is_said_with_the_way_out_and_no_failure_of_the_proxy(house: House, table: str) -> None:
    await asyncio.gather(*(house.recorder.fact(Event.PROXY_STARTED) for _ in range(600)))
    damage(house.recorder._path, table)
    async with client(make_door(house)) as asking:
        for path, query in (
            ("proof/inclusion", {"seq": 300, "size": 600}),
            ("proof/consistency", {"old": 300, "new": 600}),
            ("events", {"event": "lockdown.set"}),
            ("summary", {"since": "1h"}),
        ):
            found = await asking.get(f"/audit/{path}", params=query)
            if table == "tree_nodes" and not path.startswith("proof"):
                assert found.status_code == 200
                continue
            assert (found.status_code, found.json()["code"]) == (503, "audit_unavailable"), path
            assert found.json()["detail"] == "The ledger's file is damaged, or is no ledger"
            assert "mycelos db audit verify" in found.json()["next"]


async def test_a_ledger_that_cannot_be_read_now_is_not_called_damaged(house: House, monkeypatch) -> None:
    await house.recorder.fact(Event.PROXY_STARTED)

    def locked(path: object, *_arguments: object) -> None:
        raise LedgerUnavailableError(path)

    monkeypatch.setattr("mycelos.proxy.ledger.view.LedgerReader", locked)
    async with client(make_door(house)) as asking:
        found = await asking.get("/audit/proof/inclusion", params={"seq": 0, "size": 1})
    assert (found.status_code, found.json()["detail"]) == (503, "The ledger cannot be read now")
