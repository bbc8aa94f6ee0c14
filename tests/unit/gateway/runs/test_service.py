"""Runs from a person's message to their recorded end: real runner processes, real sockets, a scripted model."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from gateway_back import WAIT, House, TestSpawner, house

from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.runs.run import LOCKED_DOWN
from mycelos.gateway.settings import RunSettings
from mycelos.gateway.store import Store
from mycelos.gateway.store.records import RunState
from mycelos.wire.audit import AppendRequest
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("model", ["openai", "anthropic"])
async def test_a_granted_tool_is_called_and_the_answer_streams_in(tmp_path: Path, model: str) -> None:
    async with house(tmp_path) as home:
        await home.grant("github.read")
        events = await home.ask("what are the open issues?", model)
        kinds = [event.kind for event in events]
        assert kinds[0] is EventKind.TOOL_CALL, events
        assert kinds[1] is EventKind.TOOL_RESULT
        assert events[1].data["ok"] is True
        assert kinds.count(EventKind.TOKEN) > 3
        assert kinds[-1] is EventKind.DONE
        assert "Moss" in "".join(event.data["text"] for event in events if event.kind is EventKind.TOKEN)
        assert home.proxy.events() == [
            "run.started:fact",
            "policy.allowed:fact",
            "tool.called:intent",
            "tool.called:outcome",
            "run.finished:fact",
        ]
        assert home.proxy.entries[1].args_digest == home.proxy.entries[2].args_digest
        (call,) = home.proxy.calls
        assert call.inject_credential == "github"
        assert call.url == "https://api.github.com/repos/mycelos/garden/issues?state=open&per_page=20"


@pytest.mark.parametrize("model", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("text", "code", "recorded"),
    [
        ("write a comment", "policy_denied", "policy.denied"),
        ("tell the secret", "policy_denied", "policy.denied"),
        ("malformed", "invalid_request", "tool.failed"),
        ("wrong arguments", "invalid_request", "tool.failed"),
    ],
)
async def test_what_may_not_be_is_refused_recorded_and_the_run_goes_on(
    tmp_path: Path, text: str, code: str, recorded: str, model: str
) -> None:
    async with house(tmp_path) as home:
        await home.grant("github.read")
        events = await home.ask(text, model)
        (result,) = [event for event in events if event.kind is EventKind.TOOL_RESULT]
        assert result.data["ok"] is False
        assert result.data["code"] == code
        assert events[-1].kind is EventKind.DONE
        assert home.proxy.events() == ["run.started:fact", f"{recorded}:fact", "run.finished:fact"]
        assert home.proxy.calls == []


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_message_that_holds_a_stored_secret_is_kept_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.proxy.secrets.append("hunter2-hunter2")
        with pytest.raises(Refusal) as caught:
            await home.ask("keep hunter2-hunter2 for me")
        assert caught.value.problem.code is ProblemCode.FORBIDDEN
        assert await home.store.runs.all() == []
        assert home.proxy.events() == []
    assert b"hunter2" not in everything_below(tmp_path)


@pytest.mark.parametrize("model", ["openai", "anthropic"])
async def test_a_huge_answer_ends_the_run_with_its_reason(tmp_path: Path, model: str) -> None:
    async with house(tmp_path, settings=RunSettings(answer_characters=20_000)) as home:
        events = await home.ask("huge", model)
        assert events[-1].kind is EventKind.ERROR
        assert events[-1].data["code"] == "too_large"
        assert home.proxy.entries[-1].event == "run.failed"


async def test_an_agent_that_never_ends_is_stopped_by_its_limit(tmp_path: Path) -> None:
    async with house(tmp_path, settings=RunSettings(model_requests=3)) as home:
        await home.grant("github")
        events = await home.ask("for ever")
        assert events[-1].data["code"] == "model_requests"


async def test_without_the_ledger_nothing_starts(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.proxy.ledger_refuses = lambda _: True
        events = await home.ask("what are the open issues?")
        assert [event.kind for event in events] == [EventKind.ERROR]
        assert events[0].data["code"] == "audit_unavailable"
        assert home.spawner.processes == []


async def test_without_its_entry_a_tool_is_not_called(tmp_path: Path) -> None:
    def refuses(entry: AppendRequest) -> bool:
        return entry.event == "tool.called" and entry.phase == "intent"

    async with house(tmp_path) as home:
        await home.grant("github.read")
        home.proxy.ledger_refuses = refuses
        events = await home.ask("what are the open issues?")
        assert home.proxy.calls == []
        (result,) = [event for event in events if event.kind is EventKind.TOOL_RESULT]
        assert result.data["code"] == "audit_unavailable"


async def test_a_killed_runner_is_told_and_recorded(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        run_id = await home.runs.start(chat.id, "hang", "assistant", "openai")
        seen = []
        async with asyncio.timeout(WAIT):
            async for event in home.runs.events(run_id, 0):
                if event.kind is EventKind.TOKEN and not seen:
                    os.kill(home.spawner.processes[0].pid, signal.SIGKILL)
                seen.append(event)
        assert seen[-1].data["code"] == "runner_died"
        killed = next(entry for entry in home.proxy.entries if entry.event == "sandbox.killed")
        assert killed.details["signal"] == signal.SIGKILL
        messages = await home.store.chats.messages(chat.id)
        assert messages[-1].role == "assistant", "what was written until then is kept"


async def test_a_frame_that_does_not_validate_ends_the_run(tmp_path: Path) -> None:
    program = (
        "import os, sys; s = int(sys.argv[1]); "
        "os.write(s, b'\\0\\0\\0\\x11' + b'{\"type\":\"become\"}'); os.read(s, 9**9)"
    )
    async with house(tmp_path, spawner=TestSpawner(program=program)) as home:
        events = await home.ask("hello")
        assert events[-1].data["code"] == "invalid_frame"
        assert home.proxy.entries[-1].event == "run.failed"


async def test_a_refusing_sandbox_is_recorded_and_told(tmp_path: Path) -> None:
    async with house(tmp_path, spawner=TestSpawner(refuses=True)) as home:
        events = await home.ask("hello")
        assert events[-1].data["code"] == "sandbox_refused"
        assert [entry.event for entry in home.proxy.entries] == ["run.started", "sandbox.refused", "run.failed"]


async def test_a_cancelled_run_ends_and_its_process_too(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        run_id = await home.runs.start(chat.id, "hang", "assistant", "openai")
        async with asyncio.timeout(WAIT):
            await home.spawner.started.wait()
            assert await home.runs.cancel(run_id)
            events = await home.watch(run_id)
            await home.spawner.processes[0].wait()
        assert events[-1].data["code"] == "cancelled"
        assert home.proxy.entries[-1].event == "run.cancelled"
        assert not await home.runs.cancel(run_id)


async def test_a_run_that_was_cut_by_a_stop_is_told_after_the_start(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        run = await home.store.runs.open(chat.id, "hello", "assistant", "openai")
    async with house(tmp_path) as home:
        events = await home.watch(run.id)
        assert [event.kind for event in events] == [EventKind.ERROR]
        assert events[0].data["code"] == "gateway_stopped"
        assert events[0].data["detail"] == "The gateway was stopped in the middle of this run"
        closed = await home.store.runs.find(run.id)
        assert closed is not None
        assert closed.state is RunState.FAILED
        async with asyncio.timeout(WAIT):
            while await home.store.runs.unrecorded():  # noqa: ASYNC110 - the store tells nobody of its rows
                await asyncio.sleep(0)
        assert [entry.event for entry in home.proxy.entries] == ["run.failed"]


async def test_a_stop_in_the_middle_of_a_run_is_its_end(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        run_id = await home.runs.start(chat.id, "hang", "assistant", "openai")
        async with asyncio.timeout(WAIT):
            await home.spawner.started.wait()
    store = await Store.open(tmp_path / "gateway.sqlite")
    run = await store.runs.find(run_id)
    await store.close()
    assert run is not None
    assert run.code == "gateway_stopped"


async def test_events_go_on_where_a_page_left_off(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        live = await home.ask("hello")
        run = (await home.store.runs.all())[0]
        for event in live:
            rest = await home.watch(run.id, event.sequence)
            text = "".join(one.data["text"] for one in rest if one.kind is EventKind.TOKEN)
            expected = "".join(
                one.data["text"] for one in live if one.kind is EventKind.TOKEN and one.sequence > event.sequence
            )
            assert text == expected


@pytest.mark.parametrize(
    ("chat", "text", "agent", "model", "code"),
    [
        (None, " ", "assistant", None, ProblemCode.INVALID_REQUEST),
        (None, "hello", "nobody", None, ProblemCode.NOT_FOUND),
        (None, "hello", "assistant", "none", ProblemCode.MODEL_UNAVAILABLE),
        ("chat_00000000000000000000000000", "hello", "assistant", None, ProblemCode.NOT_FOUND),
    ],
)
async def test_what_cannot_start_says_why(
    tmp_path: Path, chat: str | None, text: str, agent: str, model: str | None, code: ProblemCode
) -> None:
    async with house(tmp_path) as home:
        chat_id = chat or (await home.store.chats.create("assistant")).id
        with pytest.raises(Refusal) as refused:
            await home.runs.start(chat_id, text, agent, model)
        assert refused.value.problem.code is code
        assert await home.store.runs.all() == []


async def test_a_chat_has_one_run_at_a_time(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        await home.runs.start(chat.id, "hang", "assistant", "openai")
        with pytest.raises(Refusal) as refused:
            await home.runs.start(chat.id, "hello", "assistant", "openai")
        assert refused.value.problem.code is ProblemCode.CONFLICT


async def first_token(home: House, run_id: str) -> None:
    async with asyncio.timeout(WAIT):
        async for event in home.runs.events(run_id, 0):
            if event.kind is EventKind.TOKEN:
                return


async def test_a_lockdown_ends_every_run_with_its_reason(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        chat = await home.store.chats.create("assistant")
        run_id = await home.runs.start(chat.id, "hang", "assistant", "openai")
        await first_token(home, run_id)
        assert home.runs.end_all(LOCKED_DOWN) == 1
        end = (await home.watch(run_id))[-1]
        assert (end.kind, end.data["code"]) == (EventKind.ERROR, "locked_down")
        assert "mycelos lockdown --lift" in end.data["next"]
        run = await home.store.runs.find(run_id)
        assert run is not None
        assert (run.state, run.code) == (RunState.FAILED, "locked_down")
        assert home.runs.end_all(LOCKED_DOWN) == 0


async def test_a_stream_that_a_lockdown_cut_ends_its_run_with_that_reason(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        inner = home.model.application()

        async def cut(scope: Any, receive: Any, send: Any) -> None:
            async def send_one(message: Any) -> None:
                await send(message)
                if message.get("body"):
                    home.proxy.lockdown = "set ab12 2026-11-26T08:00:00Z"
                    raise ConnectionAbortedError

            await inner(scope, receive, send_one)

        home.proxy.model = cut
        end = (await home.ask("hello"))[-1]
        assert (end.kind, end.data["code"]) == (EventKind.ERROR, "locked_down")
        home.proxy.lockdown = None


async def test_a_run_whose_end_is_being_written_is_not_cancelled_any_more(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ending, go_on = asyncio.Event(), asyncio.Event()
        close = home.store.runs.close

        async def slow(*arguments: Any, **about: Any) -> None:
            ending.set()
            await go_on.wait()
            await close(*arguments, **about)

        home.store.runs.close = slow
        chat = await home.store.chats.create("assistant")
        run_id = await home.runs.start(chat.id, "hello", "assistant", "openai")
        async with asyncio.timeout(WAIT):
            await ending.wait()
        assert home.runs.end_all(LOCKED_DOWN) == 0
        assert not await home.runs.cancel(run_id)
        go_on.set()
        assert (await home.watch(run_id))[-1].kind is EventKind.DONE
