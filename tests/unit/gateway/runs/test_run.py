"""How one run ends, also while the ledger or the store is out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_back import TestSpawner, house

from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.settings import RunSettings
from mycelos.gateway.store.records import RunState
from mycelos.wire.audit import AppendRequest

pytestmark = pytest.mark.anyio


async def test_an_end_that_the_ledger_cannot_take_is_told_now_and_recorded_later(tmp_path: Path) -> None:
    def refuses(entry: AppendRequest) -> bool:
        return entry.event == "run.finished"

    async with house(tmp_path) as home:
        home.proxy.ledger_refuses = refuses
        events = await home.ask("hello")
        assert events[-1].kind is EventKind.DONE
        (run,) = await home.store.runs.unrecorded()
        assert run.state is RunState.FINISHED
    async with house(tmp_path) as home:
        while not home.proxy.entries:
            await home.store.runs.unrecorded()
        assert [entry.event for entry in home.proxy.entries] == ["run.finished"]


async def test_a_run_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, settings=RunSettings(seconds=10)) as home:
        monkeypatch.setattr(home.runs._driver, "_seconds", 0.5)
        events = await home.ask("hang")
        assert events[-1].data["code"] == "limit_seconds"


async def test_a_runner_that_asks_twice_at_once_ends_the_run(tmp_path: Path) -> None:
    program = (
        "import sys, socket; s = socket.socket(fileno=int(sys.argv[1])); "
        'p = b\'{"type":"model.request","id":"1","messages":[{"role":"user","text":"hang"}]}\'; '
        "s.sendall((len(p).to_bytes(4, 'big') + p) * 2); s.recv(1 << 20); s.recv(1 << 20)"
    )
    async with house(tmp_path, spawner=TestSpawner(program=program)) as home:
        events = await home.ask("hang")
        assert events[-1].data["code"] == "invalid_frame"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type":"tool.call","id":"1","tool":"a.b","args":{}}', "tool_calls"),
        ('{"type":"emit","text":"' + "x" * 2000 + '"}', "answer_characters"),
    ],
)
async def test_a_runner_that_does_not_count_is_counted(tmp_path: Path, frame: str, code: str) -> None:
    program = (
        "import sys, socket; s = socket.socket(fileno=int(sys.argv[1])); s.recv(1 << 20)\n"
        f"p = {frame!r}.encode()\n"
        "while True:\n    s.sendall(len(p).to_bytes(4, 'big') + p); 'emit' in str(p) or s.recv(1 << 20)"
    )
    settings = RunSettings(tool_calls=3, answer_characters=1000)
    async with house(tmp_path, settings=settings, spawner=TestSpawner(program=program)) as home:
        events = await home.ask("hello")
        assert events[-1].data["code"] == code


async def test_the_journal_holds_model_answers_and_decisions_that_pages_do_not_see(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.ask("comment")
        (run,) = await home.store.runs.all()
        kinds = [row.kind for row in await home.store.runs.journal(run.id)]
    assert kinds[:4] == ["model_answer", "tool_call", "decision", "tool_result"]
    assert kinds[-1] == "done"
