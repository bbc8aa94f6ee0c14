"""The transport: to the proxy alone, with the gateway's bearer alone, streaming."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_back import BEARER, WAIT, SteeredProxy, proxy_client

from mycelos.wire.lockdown import LockdownState
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_whatever_a_caller_calls_itself_the_proxy_sees_the_gateway(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    async def upstream(scope: Any, _receive: Any, send: Any) -> None:
        seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async with (
        proxy_client(SteeredProxy(upstream), tmp_path / "head.json") as client,
        httpx2.AsyncClient(transport=client.transport) as http,
    ):
        await http.get(
            "http://mycelos-proxy/forward/https/a.test/",
            headers={
                "Authorization": "Bearer own",
                "X-Api-Key": "own",
                "Api-Key": "own",
                "Cookie": "own",
                "Proxy-Authorization": "own",
            },
        )
    assert seen[0]["authorization"] == f"Bearer {BEARER}"
    assert "own" not in seen[0].values()


@pytest.mark.parametrize("url", ["http://elsewhere.test/", "https://mycelos-proxy/http"])
async def test_it_sends_to_the_proxy_and_nowhere_else(tmp_path: Path, url: str) -> None:
    async with (
        proxy_client(SteeredProxy(None), tmp_path / "head.json") as client,
        httpx2.AsyncClient(transport=client.transport) as http,
    ):
        with pytest.raises(Refusal) as refused:
            await http.get(url)
    assert refused.value.problem.code is ProblemCode.EGRESS_NOT_ALLOWED


async def test_a_piece_arrives_while_the_answer_goes_on(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def upstream(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async with (
        asyncio.timeout(WAIT),
        proxy_client(SteeredProxy(upstream), tmp_path / "head.json") as client,
        httpx2.AsyncClient(transport=client.transport) as http,
        http.stream("GET", "http://mycelos-proxy/forward/https/a.test/") as response,
    ):
        parts = response.aiter_raw()
        assert await anext(parts) == b"first"
        go_on.set()
        assert await anext(parts) == b"second"


async def test_an_answer_that_breaks_off_is_a_refusal(tmp_path: Path) -> None:
    async def upstream(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        raise ConnectionResetError

    async with (
        proxy_client(SteeredProxy(upstream), tmp_path / "head.json") as client,
        httpx2.AsyncClient(transport=client.transport) as http,
    ):
        with pytest.raises(Refusal) as refused:
            await http.get("http://mycelos-proxy/forward/https/a.test/")
    assert refused.value.problem.code is ProblemCode.PROXY_UNAVAILABLE


async def test_silence_has_an_end(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def upstream(_scope: Any, _receive: Any, _send: Any) -> None:
        await over.wait()

    async with (
        proxy_client(SteeredProxy(upstream), tmp_path / "head.json") as client,
        httpx2.AsyncClient(transport=client.transport, timeout=0.05) as http,
    ):
        with pytest.raises(Refusal) as refused:
            await http.get("http://mycelos-proxy/forward/https/a.test/")
        over.set()
    assert refused.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT


async def test_each_answer_of_the_proxy_may_tell_of_a_lockdown(tmp_path: Path) -> None:
    proxy = SteeredProxy(None)
    told: list[LockdownState] = []
    async with proxy_client(proxy, tmp_path / "head.json") as client:
        await client.credentials()
        client.transport.on_lockdown = told.append
        await client.credentials()
        assert told == []
        proxy.lockdown = "set ab12 2026-11-26T08:00:00Z"
        await client.credentials()
        proxy.lockdown = "lifted ab12"
        await client.credentials()
    assert told == [
        LockdownState(locked=True, since="2026-11-26T08:00:00Z", last="ab12"),
        LockdownState(locked=False, since=None, last="ab12"),
    ]
