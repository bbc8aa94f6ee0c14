from __future__ import annotations

import asyncio

import pytest
from egress_house import call_for

from mycelos.proxy.egress.open_calls import OpenCall, OpenCalls
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

URL = parse_url("https://a.example/")
REVOKED = Refusal(ProblemCode.CREDENTIAL_UNKNOWN, "Gone.", "")


def opened() -> OpenCall:
    return OpenCall(call_for("https://a.example/"), URL)


async def waiting_in(call: OpenCall, begun: asyncio.Event) -> str:
    try:
        with call.cuttable():
            begun.set()
            await asyncio.Event().wait()
    except Refusal as refusal:
        # What the refusal leads to may wait again: the cut has left nothing behind in the task.
        await asyncio.sleep(0)
        return refusal.problem.code.value
    return "ended"


async def test_a_cut_ends_whatever_the_request_waits_for() -> None:
    call, begun = opened(), asyncio.Event()
    task = asyncio.create_task(waiting_in(call, begun))
    await begun.wait()
    call.cut(REVOKED)
    call.cut(Refusal(ProblemCode.LOCKED_DOWN, "Later.", ""))
    assert await asyncio.wait_for(task, 10) == "credential_unknown"
    assert call.was_cut


async def test_a_cut_before_the_block_keeps_it_from_beginning() -> None:
    call = opened()
    call.cut(REVOKED)
    with pytest.raises(Refusal) as caught, call.cuttable():
        pytest.fail("the block began")
    assert caught.value is REVOKED


async def test_somebody_elses_cancellation_goes_on_as_one() -> None:
    call, begun = opened(), asyncio.Event()
    task = asyncio.create_task(waiting_in(call, begun))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = opened()
    begun.clear()
    task = asyncio.create_task(waiting_in(both, begun))
    await begun.wait()
    both.cut(REVOKED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_cut_interrupts_cannot_pass_for_something_else() -> None:
    """Code that turns the cancellation into an error of its own still ends in the refusal."""
    call, begun = opened(), asyncio.Event()

    async def disguised() -> None:
        with call.cuttable():
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise TimeoutError from None

    task = asyncio.create_task(disguised())
    await begun.wait()
    call.cut(REVOKED)
    with pytest.raises(Refusal):
        await task
    assert task.cancelling() == 0


def test_one_run_and_one_host_have_only_so_many_on_their_way() -> None:
    calls = OpenCalls(per_run=2, per_host=3)
    first, other = call_for("x", run="run_a"), call_for("x", run="run_b")
    elsewhere = parse_url("https://b.example/")
    with calls.admit(first, URL), calls.admit(first, elsewhere):
        with pytest.raises(Refusal, match="rate_limited") as caught, calls.admit(first, URL):
            pass
        assert "requests_per_run" in caught.value.problem.next
        with calls.admit(other, URL), calls.admit(call_for("x"), URL):
            assert len(calls.all()) == 4
            with pytest.raises(Refusal) as caught, calls.admit(call_for("x"), URL):
                pass
            assert "requests_per_host" in caught.value.problem.next
            with calls.admit(call_for("x"), parse_url("https://a.example:8443/")):
                pass
    assert calls.all() == ()
    with calls.admit(first, URL), calls.admit(first, URL):
        pass
