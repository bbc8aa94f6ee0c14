"""Waiting for a person: the wait alone, then a run of the real back end against a proxy that tests steer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_back import ISSUES, answered, house, waits

from mycelos.gateway.runs import approval_wait
from mycelos.gateway.runs.approval_wait import ApprovalWait, wait_for_nobody
from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.time_limits import TimeLimits
from mycelos.gateway.store.records import RunState
from mycelos.wire.egress import HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

STEP = {"id": "t1", "tool": "github.write.comment", "args": {"text": "hello"}}
FIRST, SECOND = "appr_01h2xcejqtf2nbrexx3vqjhp41", "appr_01h2xcejqtf2nbrexx3vqjhp42"
REFUSED = Refusal(ProblemCode.FORBIDDEN, "A person has refused this request.", "Do without it.")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_wait, "POLL_SECONDS", 0)


class Shown:
    """A journal that keeps what is shown."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def append(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((str(kind), data))


class Sender:
    """Refuses as told, then answers; remembers the approvals that it was given."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = list(refusals)
        self.given: list[str | None] = []

    async def __call__(self, approval: str | None) -> str:
        self.given.append(approval)
        if self.refusals:
            raise self.refusals.pop(0)
        return "answer"


def wait_of(shown: Shown) -> ApprovalWait:
    return ApprovalWait(shown, TimeLimits(), STEP)  # type: ignore[arg-type]  # the test's own journal


async def test_what_needs_nobody_goes_at_once() -> None:
    shown, send = Shown(), Sender()
    assert await wait_of(shown)(send) == "answer"
    assert (send.given, shown.events) == ([None], [])


async def test_the_same_request_is_repeated_with_its_id_until_it_goes_and_is_shown_once() -> None:
    shown, send = Shown(), Sender(waits(FIRST), waits(FIRST), waits(FIRST))
    assert await wait_of(shown)(send) == "answer"
    assert send.given == [None, FIRST, FIRST, FIRST]
    assert shown.events == [
        ("approval", STEP | {"approval": FIRST, "expires_at": "2026-01-01T00:15:00Z"}),
    ]


async def test_a_proxy_that_has_forgotten_asks_anew_and_that_is_shown() -> None:
    shown, send = Shown(), Sender(waits(FIRST), waits(SECOND))
    assert await wait_of(shown)(send) == "answer"
    assert send.given == [None, FIRST, SECOND]
    assert [data["approval"] for _, data in shown.events] == [FIRST, SECOND]


@pytest.mark.parametrize(
    "refusal", [REFUSED, Refusal(ProblemCode.APPROVAL_REQUIRED, "Nobody decided in time.", "Ask again.")]
)
async def test_a_last_word_is_passed_on(refusal: Refusal) -> None:
    send = Sender(waits(FIRST), refusal)
    with pytest.raises(Refusal) as caught:
        await wait_of(Shown())(send)
    assert caught.value is refusal
    assert send.given == [None, FIRST]


async def test_where_no_run_can_show_it_nobody_is_waited_for() -> None:
    send = Sender(waits(FIRST))
    with pytest.raises(Refusal, match="approval_required"):
        await wait_for_nobody(send)
    assert send.given == [None]


class Person:
    """The proxy's `/http`: the first request of each call waits until the person has decided."""

    def __init__(self, decision: HttpAnswer | Refusal) -> None:
        self.decision = decision
        self.decided = asyncio.Event()
        self.polls = 0

    async def __call__(self, call: HttpCall) -> HttpAnswer | Refusal:
        if call.approval is None:
            return waits(FIRST)
        assert call.approval == FIRST
        self.polls += 1
        return self.decision if self.decided.is_set() else waits(FIRST)


ISSUE_LIST = answered(msgspec.json.encode(ISSUES).decode())


async def start(home: Any) -> str:
    chat = await home.store.chats.create("assistant")
    found: str = await home.runs.start(chat.id, "what are the open issues?", "assistant", "openai")
    return found


async def until_asked(home: Any, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        async for event in home.runs.events(run_id, 0):
            if event.kind is EventKind.APPROVAL:
                found: dict[str, Any] = event.data
                return found
    raise AssertionError


async def test_a_tool_waits_and_goes_on_by_itself_when_the_person_has_approved(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.grant("github")
        person = home.proxy.http = Person(ISSUE_LIST)
        run_id = await start(home)
        asked = await until_asked(home, run_id)
        assert (asked["tool"], asked["approval"]) == ("github.read.issues", FIRST)
        person.decided.set()
        events = await home.watch(run_id)
        kinds = [event.kind for event in events if event.kind is not EventKind.TOKEN]
        assert kinds == [EventKind.TOOL_CALL, EventKind.APPROVAL, EventKind.TOOL_RESULT, EventKind.DONE]
        (result,) = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
        assert (result["id"], result["ok"]) == (asked["id"], True)
        # Each repetition is the same request, but for the approval.
        assert {msgspec.json.encode(msgspec.structs.replace(call, approval=None)) for call in home.proxy.calls} == {
            msgspec.json.encode(msgspec.structs.replace(home.proxy.calls[0], approval=None))
        }
        assert home.proxy.events().count("tool.called:intent") == 1


async def test_a_tool_that_a_person_refuses_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.grant("github")
        person = home.proxy.http = Person(REFUSED)
        run_id = await start(home)
        await until_asked(home, run_id)
        person.decided.set()
        events = await home.watch(run_id)
        (result,) = [event.data for event in events if event.kind is EventKind.TOOL_RESULT]
        assert (result["ok"], result["code"]) == (False, "forbidden")
        assert "A person has refused this request" in result["content"]
        assert events[-1].kind is EventKind.DONE


async def test_a_run_that_waits_can_be_cancelled(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.grant("github")
        home.proxy.http = Person(ISSUE_LIST)
        run_id = await start(home)
        await until_asked(home, run_id)
        assert await home.runs.cancel(run_id)
        assert (await home.watch(run_id))[-1].data["code"] == "cancelled"
        run = await home.store.runs.find(run_id)
        assert run is not None
        assert run.state is RunState.CANCELLED


async def test_the_time_that_a_person_takes_counts_against_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each poll rests for longer than the tool, the step and the run together may take."""
    from mycelos.gateway import broker

    real_sleep = asyncio.sleep

    async def leap(seconds: float) -> None:
        # The time passes for the limits that are running, and for nobody else.
        await real_sleep(0)

    monkeypatch.setattr(approval_wait, "POLL_SECONDS", 100.0)
    monkeypatch.setattr("mycelos.gateway.runs.time_limits.asyncio.sleep", leap)
    monkeypatch.setattr(broker, "TOOL_SECONDS", 20.0)
    async with house(tmp_path) as home:
        await home.grant("github")
        person = home.proxy.http = Person(ISSUE_LIST)
        run_id = await start(home)
        await until_asked(home, run_id)
        async with asyncio.timeout(30):
            while person.polls < 3:
                await real_sleep(0)
        person.decided.set()
        assert (await home.watch(run_id))[-1].kind is EventKind.DONE


@pytest.mark.parametrize("model", ["openai", "anthropic"])
async def test_a_question_to_a_model_waits_too_and_is_the_same_each_time(tmp_path: Path, model: str) -> None:
    async with house(tmp_path) as home:
        bodies: list[str] = []

        def refuse(headers: dict[str, str]) -> Refusal | None:
            bodies.append(headers.get("content-length", ""))
            return None if len(bodies) > 2 else waits(FIRST)

        home.proxy.forward = refuse
        events = await home.ask("hello", model)
        asked = [event.data for event in events if event.kind is EventKind.APPROVAL]
        assert [(data["tool"], data["approval"]) for data in asked] == [("model.request", FIRST)]
        assert events[-1].kind is EventKind.DONE
        first, *again = home.proxy.forwarded
        assert "mycelos-approval" not in first
        assert {headers["mycelos-approval"] for headers in again} == {FIRST}
        assert len({str({k: v for k, v in h.items() if k != "mycelos-approval"}) for h in home.proxy.forwarded}) == 1


@pytest.mark.parametrize("model", ["openai", "anthropic"])
async def test_a_question_that_a_person_refuses_ends_the_run_and_says_so(tmp_path: Path, model: str) -> None:
    async with house(tmp_path) as home:
        home.proxy.forward = lambda headers: REFUSED if "mycelos-approval" in headers else waits(FIRST)
        last = (await home.ask("hello", model))[-1]
        assert (last.kind, last.data["code"]) == (EventKind.ERROR, "forbidden")
        assert "A person has refused this request" in last.data["detail"]
