"""The proxy's door as the gateway uses it, over a real control channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_back import SteeredProxy, proxy_client
from grown_tree import GrownTree

from mycelos.gateway.proxy_client.client import refusal_from
from mycelos.wire.audit import AppendRequest
from mycelos.wire.egress import HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

CALL = HttpCall(method="GET", url="http://a.test/")


async def no_model(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError


async def test_a_call_an_entry_and_the_lists_come_back(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model)
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        assert await client.health()
        assert (await client.http(CALL)).status == 200
        receipts = [await client.append(AppendRequest(event="chat.created")) for _ in range(3)]
        assert [receipt.seq for receipt in receipts] == [0, 1, 2]
        assert [summary.service for summary in await client.credentials()] == ["github"]
        assert await client.audit_events(limit=5, suspicious=True) == [{"limit": "5", "suspicious": "true"}]
        assert (await client.audit_summary(since="24h")).entries == 7
        assert (await client.newest_checkpoint()).key == "the key"
    assert json.loads((tmp_path / "head.json").read_bytes()) == {"note": proxy.tree.note(3)}
    assert proxy.proofs == [(1, 3)], "what was signed last was proven at the stop"


async def test_a_ledger_that_goes_on_from_an_old_copy_is_an_alarm(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model)
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        for _ in range(3):
            await client.append(AppendRequest(event="chat.created"))
        remembered = await client.remembered()
        assert remembered is not None
        assert remembered.size == 3
        # It went back by two entries, was written on, and has outgrown what is remembered.
        proxy.tree, proxy.seq = GrownTree(0, "b"), 6
        await client.append(AppendRequest(event="chat.created"))
        assert await client.remembered() == remembered
        assert "do not begin with the 3" in (client.ledger_alarm or "")


async def test_proofs_come_back_as_hashes(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model)
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        for _ in range(7):
            await client.append(AppendRequest(event="chat.created"))
        assert await client.inclusion(2, 7) == proxy.tree.inclusion(2, 7)
        assert await client.consistency(3, 7) == proxy.tree.consistency(3, 7)


async def test_a_message_that_holds_a_stored_secret_is_refused_with_what_to_do(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model, secrets=["hunter2-hunter2"])
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        await client.refuse_stored_secret("a harmless message")
        with pytest.raises(Refusal) as caught:
            await client.refuse_stored_secret("my key is hunter2-hunter2")
    assert caught.value.problem.code is ProblemCode.FORBIDDEN
    assert caught.value.problem.next.startswith("Rotate it: it was typed into a chat.")
    assert "hunter2" not in str(caught.value)


async def test_a_ledger_that_starts_again_is_an_alarm(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model)
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        await client.append(AppendRequest(event="chat.created"))
        assert client.ledger_alarm is None
        proxy.seq = 0
        await client.append(AppendRequest(event="chat.created"))
        assert "set back or replaced" in (client.ledger_alarm or "")


async def test_a_problem_document_becomes_its_refusal(tmp_path: Path) -> None:
    async def refuse(_call: HttpCall) -> ProblemCode:
        return ProblemCode.BINDING_VIOLATION

    proxy = SteeredProxy(no_model, http=refuse)
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        with pytest.raises(Refusal) as refused:
            await client.http(CALL)
    assert refused.value.problem.code is ProblemCode.BINDING_VIOLATION
    assert refused.value.problem.next == "do something else"


async def test_an_answer_of_another_form_is_refused_as_such(tmp_path: Path) -> None:
    proxy = SteeredProxy(no_model, credentials=[{"service": "github", "secret": "no"}])
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        with pytest.raises(Refusal) as refused:
            await client.credentials()
    assert refused.value.problem.code is ProblemCode.PROXY_UNAVAILABLE
    assert "secret" not in refused.value.problem.detail


async def test_a_proxy_that_breaks_off_is_a_refusal_and_an_unwritten_entry_too(tmp_path: Path) -> None:
    async def break_off(_call: HttpCall) -> HttpAnswer:
        raise ConnectionResetError

    proxy = SteeredProxy(no_model, ledger_refuses=lambda _: bool(1 // 0))
    proxy.http = break_off
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        for sent in (client.http(CALL), client.append(AppendRequest(event="chat.created"))):
            with pytest.raises(Refusal):
                await sent
        proxy.http, proxy.ledger_refuses = None, lambda _: False
        assert (await client.http(CALL)).status == 200
        assert (await client.append(AppendRequest(event="chat.created"))).seq == 0


@pytest.mark.parametrize("document", [b"", b"{}", b'{"code": "surprise"}', b"\xff"])
def test_a_problem_that_is_none_is_not_believed(document: bytes) -> None:
    assert refusal_from(document).problem.code is ProblemCode.PROXY_UNAVAILABLE
