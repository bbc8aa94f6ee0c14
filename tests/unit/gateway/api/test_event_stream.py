"""Event streams on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from gateway_page import WAIT

from mycelos.gateway.api import event_stream
from mycelos.gateway.api.event_stream import encode_event, resume_after
from mycelos.gateway.runs.events import EventKind, RunEvent
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


async def frames(response) -> AsyncIterator[str]:
    buffer = ""
    async for text in response.aiter_text():
        buffer += text
        while "\n\n" in buffer:
            frame, _, buffer = buffer.partition("\n\n")
            yield frame


async def test_each_token_arrives_before_the_next_is_said(page) -> None:
    _, run = await page.begin_run()
    async with asyncio.timeout(WAIT), page.command_line().stream("GET", f"/api/runs/{run}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert "content-length" not in response.headers
        stream = frames(response)
        assert await anext(stream) == ": follow"
        for number, word in enumerate(["one", "two", "three"], 1):
            await page.runs.say(run, "token", text=word)
            assert await anext(stream) == f'id: {number}\nevent: token\ndata: {{"text":"{word}"}}'
        await page.runs.say(run, "done", text="one two three", code="answered")
        assert (await anext(stream)).startswith("id: 4\nevent: done\n")
        assert [frame async for frame in stream] == []


async def test_a_reader_that_lost_the_line_goes_on_where_it_was(page) -> None:
    _, run = await page.begin_run()
    for word in "abcd":
        await page.runs.say(run, "token", text=word)
    await page.runs.say(run, "done", text="abcd", code="answered")
    client = page.command_line()
    for options in ({"headers": {"Last-Event-ID": "3"}}, {"params": {"after": "3"}}):
        text = (await client.get(f"/api/runs/{run}/events", **options)).text
        assert [line for line in text.split("\n") if line.startswith("id:")] == ["id: 4", "id: 5"]
    both = {"headers": {"Last-Event-ID": "4"}, "params": {"after": "0"}}
    text = (await client.get(f"/api/runs/{run}/events", **both)).text
    assert [line for line in text.split("\n") if line.startswith("id:")] == ["id: 5"]


async def test_silence_is_filled_and_nothing_is_lost_by_it(serve) -> None:
    async with serve(heartbeat=0.05) as page:
        _, run = await page.begin_run()
        async with asyncio.timeout(WAIT), page.command_line().stream("GET", f"/api/runs/{run}/events") as response:
            stream = frames(response)
            assert [await anext(stream) for _ in range(3)] == [": follow", ": alive", ": alive"]
            await page.runs.say(run, "token", text="x")
            async for frame in stream:
                if frame.startswith("id:"):
                    break
            assert frame == 'id: 1\nevent: token\ndata: {"text":"x"}'


async def test_a_stream_ends_when_its_session_does(serve) -> None:
    async with serve(heartbeat=0.05) as page:
        client = await page.signed_in()
        _, run = await page.begin_run()
        async with asyncio.timeout(WAIT), client.stream("GET", f"/api/runs/{run}/events") as response:
            stream = frames(response)
            assert await anext(stream) == ": follow"
            await page.store.sessions.delete_all()
            assert {frame async for frame in stream} <= {": alive"}


async def test_a_reader_that_goes_away_leaves_nothing_behind(page) -> None:
    _, run = await page.begin_run()
    async with asyncio.timeout(WAIT):
        async with page.command_line().stream("GET", f"/api/runs/{run}/events") as response:
            stream = frames(response)
            assert await anext(stream) == ": follow"
            async with page.runs.changed:
                await page.runs.changed.wait_for(lambda: page.runs.readers == 1)
        async with page.runs.changed:
            await page.runs.changed.wait_for(lambda: page.runs.readers == 0)


async def test_no_more_streams_than_the_gateway_can_hold(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAXIMUM_STREAMS", 1)
    _, run = await page.begin_run()
    async with asyncio.timeout(WAIT), page.command_line().stream("GET", f"/api/runs/{run}/events") as first:
        stream = frames(first)
        assert await anext(stream) == ": follow"
        second = await page.command_line().get(f"/api/runs/{run}/events")
        assert (second.status_code, second.json()["code"]) == (429, "rate_limited")


async def test_without_a_session_nothing_is_streamed(page) -> None:
    _, run = await page.begin_run()
    await page.runs.say(run, "done", text="private", code="answered")
    answer = await page.client().get(f"/api/runs/{run}/events")
    assert answer.status_code == 401
    assert "private" not in answer.text


@pytest.mark.parametrize("text", ["data: x\n\nevent: done\ndata: {}", "\r\r", "\u2028\u2029", "\x00", "id: 99\n\n"])
def test_what_a_model_writes_cannot_forge_an_event(text: str) -> None:
    encoded = encode_event(RunEvent(7, EventKind.TOKEN, {"text": text}))
    assert encoded.count(b"\n") == 4
    assert b"\r" not in encoded
    assert encoded.startswith(b"id: 7\nevent: token\ndata: {")


@pytest.mark.parametrize(
    ("header", "after", "number"), [(None, None, 0), ("5", None, 5), (None, "7", 7), ("5", "7", 5), ("", "7", 7)]
)
def test_where_to_resume(header: str | None, after: str | None, number: int) -> None:
    assert resume_after(header, after) == number


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "\u0665", "1" * 13, "5 "])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        resume_after(text, None)
