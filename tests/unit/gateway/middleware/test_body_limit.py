from __future__ import annotations

import asyncio

import pytest

from mycelos.gateway.middleware.body_limit import MAXIMUM_BODY_BYTES, BodyLimit

pytestmark = pytest.mark.anyio


async def test_a_body_within_the_limit_arrives(page) -> None:
    chat = await page.store.chats.create("assistant")
    answer = await page.command_line().post(f"/api/chats/{chat.id}/messages", json={"text": "x" * 32_000})
    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["/api/chats", "/login", "/chat"])
async def test_a_body_over_the_limit_is_refused_before_anybody_signs_in(page, path: str) -> None:
    answer = await page.client().post(path, content=b"x" * (MAXIMUM_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert answer.headers["connection"] == "close"


async def test_a_declared_giant_is_refused_before_it_is_read(page) -> None:
    status = await _status(page, "Content-Length: 999999999", b"x")
    assert b" 413 " in status


async def test_a_giant_in_pieces_is_refused_though_it_never_ends(page) -> None:
    status = await _status(page, "Transfer-Encoding: chunked", (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 80)
    assert b" 413 " in status


async def test_a_body_that_never_comes_is_not_waited_for() -> None:
    sent = []

    async def receive() -> dict:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    await BodyLimit(None, seconds=0.01)({"type": "http", "path": "/login", "headers": []}, receive, send)
    assert sent[0]["status"] == 400


async def _status(page, header: str, body: bytes) -> bytes:
    """The status line of an answer to a request on a bare socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    writer.write(f"POST /login HTTP/1.1\r\nHost: localhost:{page.port}\r\n{header}\r\n\r\n".encode() + body)
    status = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    return status


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "0x10", "\uff19", "5, 5"])
async def test_a_length_that_is_no_number_is_refused(page, length: str) -> None:
    assert b" 400 " in await _status(page, f"Content-Length: {length}", b"hello")
