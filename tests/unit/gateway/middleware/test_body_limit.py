from __future__ import annotations

import asyncio

import pytest

from mycelos.gateway.middleware.body_limit import MAXIMUM_BODY_BYTES

pytestmark = pytest.mark.anyio


async def test_a_body_within_the_limit_arrives(page) -> None:
    chat = await page.store.chats.create("assistant")
    answer = await page.command_line().post(f"/api/chats/{chat.id}/messages", json={"text": "x" * 32_000})
    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["/api/chats", "/login", "/chat"])
async def test_a_declared_giant_is_refused_before_it_is_read_and_before_anybody_signs_in(page, path: str) -> None:
    answer = await page.client().post(path, content=b"x" * (MAXIMUM_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert answer.headers["connection"] == "close"


async def test_a_giant_in_pieces_is_refused_when_it_passes_the_limit(page) -> None:
    """Without a declared length, on a bare socket: the answer comes though the body never ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    head = f"POST /login HTTP/1.1\r\nHost: localhost:{page.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(5):
        writer.write(piece)
    await writer.drain()
    status = await asyncio.wait_for(reader.readline(), 20)
    assert b" 413 " in status
    writer.close()


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "0x10", "\uff19", "5, 5"])
async def test_a_length_that_is_no_number_is_refused(page, length: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    head = f"POST /login HTTP/1.1\r\nHost: localhost:{page.port}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + b"hello")
    status = await asyncio.wait_for(reader.readline(), 20)
    assert b" 400 " in status
    writer.close()
