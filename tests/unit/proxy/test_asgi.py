from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mycelos.proxy import asgi
from mycelos.wire.problems import ProblemCode, Refusal, make_problem

pytestmark = pytest.mark.anyio


def receiving(*messages: dict[str, Any]) -> asgi.Receive:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_to_its_end_and_not_beyond_its_limit() -> None:
    assert await asgi.read_body(receiving(piece(b"ab", more=True), piece(b"c", more=False)), 3) == b"abc"
    with pytest.raises(Refusal) as caught:
        await asgi.read_body(receiving(piece(b"abcd", more=True)), 3)
    assert caught.value.problem.code is ProblemCode.TOO_LARGE


async def test_a_caller_that_goes_away_or_is_slow_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(asgi.DisconnectedError):
        await asgi.read_body(receiving(piece(b"a", more=True), {"type": "http.disconnect"}), 3)
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.01)
    with pytest.raises(Refusal) as caught:
        await asgi.read_body(receiving(piece(b"a", more=True)), 3)
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST


async def test_a_reader_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(_message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asgi, "WRITE_SECONDS", 0.01)
    with pytest.raises(asgi.DisconnectedError):
        await asgi.answer_piece(stuck, b"x", more=True)


GONE = {"type": "http.disconnect"}


async def test_a_caller_that_goes_away_ends_what_is_done_for_it() -> None:
    ended = asyncio.Event()
    caller = asgi.Caller(receiving(piece(b"", more=False), GONE))
    caller.leave_body()
    with pytest.raises(asgi.DisconnectedError):
        async with asyncio.timeout(10), caller.waiting():
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
    assert ended.is_set()


async def test_a_caller_whose_body_is_being_read_is_not_watched_beside_it() -> None:
    """Two readers would take pieces from each other."""
    caller = asgi.Caller(receiving(piece(b"a", more=True), piece(b"b", more=False), GONE))
    with pytest.raises(asgi.DisconnectedError):
        async with asyncio.timeout(10), caller.waiting():
            found = []
            async for data in caller.body_pieces():
                await asyncio.sleep(0)
                found.append(data)
            assert found == [b"a", b"b"]
            await asyncio.Event().wait()


async def test_a_caller_that_stays_changes_nothing_and_leaves_no_task() -> None:
    caller = asgi.Caller(receiving())
    caller.leave_body()
    before = asyncio.all_tasks()
    async with caller.waiting():
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    with pytest.raises(TimeoutError):
        async with caller.waiting():
            raise TimeoutError
    with pytest.raises(Refusal):
        async with caller.waiting():
            asgi.refuse_large(1)


async def test_a_header_stands_once_or_not_at_all() -> None:
    scope = {"headers": [(b"x", b"1"), (b"y", b"2"), (b"y", b"3")]}
    assert asgi.header(scope, "X") == "1"
    assert asgi.header(scope, "Z") is None
    with pytest.raises(Refusal):
        asgi.header(scope, "Y")


async def test_a_problem_is_answered_with_its_status_type_and_code() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await asgi.answer_problem(send, make_problem(ProblemCode.SSRF_BLOCKED, "Blocked.", "Nothing."))
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 403
    assert headers[b"mycelos-refused"] == b"ssrf_blocked"
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"mycelos-protocol"] == b"1"
    assert int(headers[b"content-length"]) == len(sent[1]["body"])
