"""No handler is reached but through the broker: decided, recorded, then called, once, with the arguments recorded."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from gateway_back import house
from hypothesis import given
from hypothesis import strategies as st

import mycelos.gateway.broker
from mycelos.gateway.runs.events import EventKind
from mycelos.gateway.tools.permit import Permit, digest
from mycelos.gateway.tools.registry import Tool, ToolAnswer
from mycelos.gateway.tools.web import ReadPage
from mycelos.policy.decision import Allow
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.problems import ProblemCode, Refusal

RECEIPT = AppendReceipt(seq=1, leaf_hash="0" * 64, checkpoint=None)
GATEWAY = Path(mycelos.gateway.broker.__file__).parent
URL = {"url": "http://a.test/"}


def make_tool(calls: list[Any], name: str = "web.read.page") -> Tool:
    async def handler(_permit: Permit, args: ReadPage) -> ToolAnswer:
        calls.append(args)
        return ToolAnswer("done")

    return Tool(name, "", ReadPage, handler)


def uses_of(name: str) -> set[str]:
    """Modules of the gateway that call or read ``name``."""
    found = set()
    for path in GATEWAY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            is_attribute = isinstance(node, ast.Attribute) and node.attr == name
            if is_call or is_attribute:
                found.add(str(path.relative_to(GATEWAY)))
    return found


def test_the_broker_alone_makes_permits() -> None:
    assert uses_of("Permit") == {"broker.py"}


def test_a_handler_is_called_in_one_place_alone_behind_the_permit() -> None:
    assert uses_of("handler") == {"tools/registry.py"}


@pytest.mark.anyio
@given(
    tool=st.sampled_from(["web.read.page", "web.read.pages", "web.read"]),
    url=st.sampled_from(["http://a.test/", "http://b.test/"]),
)
async def test_a_permit_opens_its_own_call_and_no_other(tool: str, url: str) -> None:
    calls: list[Any] = []
    permit = Permit("run", "agent", tool, digest(URL), RECEIPT)
    called = make_tool(calls).call(permit, {"url": url})
    if (tool, url) == ("web.read.page", URL["url"]):
        await called
        with pytest.raises(Refusal, match="policy_denied"):
            await make_tool(calls).call(permit, URL)
        assert len(calls) == 1, "a permit is used up by its call"
    else:
        with pytest.raises(Refusal, match="policy_denied"):
            await called
        assert calls == []


@pytest.mark.anyio
async def test_every_registered_tool_is_refused_and_recorded_without_a_capability(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in home.registry.names:
            home.proxy.entries.clear()
            home.model._scenarios = one_wish(name)
            events = await home.ask("go")
            (result,) = [event for event in events if event.kind is EventKind.TOOL_RESULT]
            assert result.data["code"] == ProblemCode.POLICY_DENIED.value
            assert [entry.event for entry in home.proxy.entries] == ["run.started", "policy.denied", "run.finished"]
        assert home.proxy.calls == []


@pytest.mark.anyio
async def test_with_the_decision_taken_away_the_attack_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mycelos.gateway.broker, "decide", lambda _granted, tool, **_: Allow(tool, tool))
    async with house(tmp_path) as home:
        await home.ask("what are the open issues?")
        assert len(home.proxy.calls) == 1


@pytest.mark.anyio
async def test_a_handler_that_fails_unforeseen_ends_the_run_without_its_text(tmp_path: Path) -> None:
    async def explode(_call: Any) -> Any:
        message = "the library's text"
        raise ZeroDivisionError(message)

    async with house(tmp_path) as home:
        await home.grant("web")
        tool = home.registry._tools["web.read.page"]
        object.__setattr__(tool, "handler", lambda _permit, args: explode(args))
        events = await home.ask("metadata")
        assert events[-1].data["code"] == "internal"
        assert "library" not in str(events)
        outcome = next(entry for entry in home.proxy.entries if entry.phase == "outcome")
        assert (outcome.outcome, outcome.reason) == ("failed", "internal")


@pytest.mark.anyio
async def test_the_proxys_refusal_reaches_model_page_and_ledger_by_its_code(tmp_path: Path) -> None:
    async def refuse(_call: Any) -> ProblemCode:
        return ProblemCode.SSRF_BLOCKED

    async with house(tmp_path) as home:
        await home.grant("web")
        home.proxy.http = refuse
        events = await home.ask("metadata")
        (result,) = [event for event in events if event.kind is EventKind.TOOL_RESULT]
        assert result.data["code"] == "ssrf_blocked"
        assert events[-1].kind is EventKind.DONE
        outcome = next(entry for entry in home.proxy.entries if entry.phase == "outcome")
        intent = next(entry for entry in home.proxy.entries if entry.phase == "intent")
        assert outcome.reason == "ssrf_blocked"
        assert outcome.intent_seq == home.proxy.entries.index(intent)


def one_wish(tool: str) -> Any:
    from mycelos.demo.script import Say, Scenario, Use

    return (Scenario("", (Use(tool, {}), Say("well"))),)
