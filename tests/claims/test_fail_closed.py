"""F1: each check is made to raise, to give nothing, to give nonsense and to hang. The action never happens.

Real parts and real sockets stand around the one that fails. The control shows that the same action happens when
nothing does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from egress_house import SECRET, House, Upstream, call_for, egress_house, fetch, serve
from gateway_back import house as gateway_house

import mycelos.gateway.broker
from mycelos.claim import PORTS
from mycelos.gateway.runs.events import EventKind
from mycelos.proxy.egress import trail
from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.http_client import Deadlines
from mycelos.proxy.egress.pipeline import EgressPipeline
from mycelos.proxy.stored_secrets import REQUEST_CHARACTERS, StoredSecrets
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

HOST = "good.example"
LIBRARY_TEXT = f"library text with {SECRET}"


def raise_now(*_arguments: Any, **_keywords: Any) -> Any:
    raise RuntimeError(LIBRARY_TEXT)


async def raise_later(*_arguments: Any, **_keywords: Any) -> Any:
    raise RuntimeError(LIBRARY_TEXT)


async def hang(*_arguments: Any, **_keywords: Any) -> Any:
    await asyncio.Event().wait()


def giving(value: Any, *, later: bool) -> Callable[..., Any]:
    async def answer_later(*_arguments: Any, **_keywords: Any) -> Any:
        return value

    return answer_later if later else lambda *_arguments, **_keywords: value


def faults(*, waits: bool) -> dict[str, Callable[..., Any]]:
    """Every way to fail, of a call that waits or of one that does not."""
    found = {
        "raises": raise_later if waits else raise_now,
        "gives nothing": giving(None, later=waits),
        "gives nonsense": giving(object(), later=waits),
        "gives yes": giving(True, later=waits),
    }
    return found | ({"hangs": hang} if waits else {})


class Failing:
    """Stands in the place of a part; one of its methods fails."""

    def __init__(self, part: Any, method: str, act: Callable[..., Any]) -> None:
        self._part, self._method, self._act = part, method, act

    def __getattr__(self, name: str) -> Any:
        return self._act if name == self._method else getattr(self._part, name)


@dataclass(frozen=True)
class EgressCase:
    """A part of the pipeline, its method, and whether that waits. ``harmless`` ways are no failure of the check.

    ``asks`` is a request of a credential that waits for a person; ``is_new`` where nobody has approved it yet.
    """

    part: str
    method: str
    waits: bool = False
    by_rule: bool = False
    harmless: tuple[str, ...] = ()
    asks: bool = False
    is_new: bool = False


# A method that gives nothing when all is well cannot fail by giving something.
GIVES_NOTHING = ("gives nothing", "gives nonsense", "gives yes")
EGRESS: dict[str, tuple[EgressCase, ...]] = {
    "lockdown": (EgressCase("lockdown", "refuse", harmless=GIVES_NOTHING),),
    "guard": (
        EgressCase("guard", "judge_host", harmless=GIVES_NOTHING),
        EgressCase("guard", "judge_addresses"),
        EgressCase("guard", "is_opened", by_rule=True, harmless=GIVES_NOTHING),
    ),
    "vault": (
        EgressCase("vault", "find"),
        EgressCase("vault", "open_secret"),
        EgressCase("vault", "secrets_for_host"),
    ),
    "rules": (EgressCase("rules", "match", by_rule=True),),
    "approvals": (
        EgressCase("approvals", "find", asks=True),
        EgressCase("approvals", "spend", asks=True, harmless=GIVES_NOTHING),
        EgressCase("approvals", "same", asks=True, is_new=True),
        EgressCase("approvals", "hold", asks=True, is_new=True),
    ),
    "quotas": (
        EgressCase("quotas", "take_request", harmless=GIVES_NOTHING),
        EgressCase("quotas", "take_bytes", harmless=GIVES_NOTHING),
    ),
    "web budget": (EgressCase("web_budget", "take", by_rule=True, harmless=GIVES_NOTHING),),
    "open calls": (EgressCase("open_calls", "admit"),),
    "ledger": (
        EgressCase("recorder", "intent", waits=True),
        EgressCase("recorder", "intent", waits=True, by_rule=True),
    ),
    "resolver": (EgressCase("resolver", "resolve", waits=True),),
    "dialler": (EgressCase("client", "connect", waits=True),),
    "scrubber": (EgressCase("scrubber", "made"),),
    "secrets": (
        EgressCase("secrets", "clean", waits=True),
        EgressCase("secrets", "clean", waits=True, by_rule=True),
    ),
    "costly work": (EgressCase("costly", "run", waits=True),),
}


def egress_parameters() -> list[Any]:
    return [
        pytest.param(port, case, act, id=f"{port}: {case.method}{' by rule' if case.by_rule else ''} {name}")
        for port, cases in EGRESS.items()
        for case in cases
        for name, act in faults(waits=case.waits).items()
        if name not in case.harmless
    ]


@asynccontextmanager
async def outside(house: House) -> AsyncIterator[tuple[Upstream, int]]:
    """A listener that a bound credential may reach by name, on a port of its own."""
    async with serve() as upstream:
        await house.store(upstream.port, host=HOST)
        await house.store(upstream.port, "asks", f"{SECRET}2", host=HOST, confirm=True)
        house.resolver.answers[HOST] = [["127.0.0.1"]]
        yield upstream, upstream.port


def request_of(port: int, case: EgressCase | None) -> Any:
    deadlines = Deadlines(first_byte=5, idle=5, total=0.5)
    if case is not None and case.by_rule:
        return call_for(f"https://{HOST}/", deadlines=deadlines)
    service = "asks" if case is not None and case.asks else "github"
    return call_for(f"http://{HOST}:{port}/", "POST", service=service, body=b"x", length=1, deadlines=deadlines)


async def approved(house: House, port: int, call: EgressCall) -> EgressCall:
    """The same request, with the approval of a person who was asked about it."""
    with pytest.raises(Refusal):
        await fetch(pipeline_of(house, port, None, raise_now), call)
    (held,) = house.approvals.waiting()
    house.approvals.decide(held.id, held.digest, is_approved=True)
    return replace(call, approval=held.id)


def pipeline_of(house: House, port: int, case: EgressCase | None, act: Callable[..., Any]) -> EgressPipeline:
    parts: dict[str, Any] = {"guard": house.make_guard({(HOST, port): ["127.0.0.1"]})}
    if case is not None and case.part != "scrubber":
        own = parts | {"secrets": StoredSecrets(house.vault, REQUEST_CHARACTERS)}
        whole = own[case.part] if case.part in own else getattr(house, case.part)
        parts[case.part] = Failing(whole, case.method, act)
    return house.pipeline(**parts)


@pytest.mark.parametrize(("port", "case", "act"), egress_parameters())
async def test_a_check_that_fails_denies_the_action(
    port: str, case: EgressCase, act: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del port
    monkeypatch.setattr(trail, "DURABLE_SECONDS", 0.2)
    async with egress_house(tmp_path) as house, outside(house) as (upstream, number):
        await house.rules.set_web(enabled=True)
        if case.part == "scrubber":
            monkeypatch.setattr("mycelos.proxy.egress.pipeline.Scrubber", act)
        call = request_of(number, case)
        if case.asks and not case.is_new:
            call = await approved(house, number, call)
        with pytest.raises(Exception) as caught:
            await fetch(pipeline_of(house, number, case, act), call)
        # What is not a refusal of ours becomes `internal` at the door, without its text.
        assert not isinstance(caught.value, AssertionError)
        # The action of what looks through an answer is that it comes back: it did not.
        assert upstream.heads == [] or case.part in {"scrubber", "costly"}, "nothing was sent"
        if case.by_rule:
            # A name carries data: by the web rule already the question to a resolver is the action.
            assert house.resolver.asked == []
        assert house.open_calls.all() == ()


async def test_the_same_requests_go_out_when_nothing_fails(tmp_path: Path) -> None:
    async with egress_house(tmp_path) as house, outside(house) as (upstream, number):
        pipeline = pipeline_of(house, number, None, raise_now)
        assert (await fetch(pipeline, request_of(number, None)))[0] == 200
        assert upstream.bodies == [b"x"]
        assert SECRET.encode() in upstream.heads[0]
        asking = request_of(number, EGRESS["approvals"][0])
        assert (await fetch(pipeline, await approved(house, number, asking)))[0] == 200
        await house.rules.set_web(enabled=True)
        house.resolver.asked.clear()
        with pytest.raises(Refusal, match="ssrf_blocked"):
            await fetch(pipeline, request_of(number, EGRESS["rules"][0]))
        assert house.resolver.asked == [HOST]


POLICY = faults(waits=False)


@pytest.mark.parametrize("act", POLICY.values(), ids=POLICY)
async def test_a_policy_that_fails_calls_no_tool(
    act: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_house(tmp_path) as home:
        await home.grant("github")
        monkeypatch.setattr(mycelos.gateway.broker, "decide", act)
        events = await home.ask("what are the open issues?")
        assert events[-1].kind is EventKind.ERROR
        assert LIBRARY_TEXT not in str(events)
        assert home.proxy.calls == []


@pytest.mark.parametrize("refused", ["policy.allowed:fact", "tool.called:intent"])
async def test_a_ledger_that_takes_no_entry_calls_no_tool(refused: str, tmp_path: Path) -> None:
    async with gateway_house(tmp_path) as home:
        await home.grant("github")
        home.proxy.ledger_refuses = lambda entry: f"{entry.event}:{entry.phase}" == refused
        events = await home.ask("what are the open issues?")
        results = [event for event in events if event.kind is EventKind.TOOL_RESULT]
        assert all(event.data["code"] == ProblemCode.AUDIT_UNAVAILABLE.value for event in results)
        assert home.proxy.calls == []


async def test_the_same_tool_is_called_when_nothing_fails(tmp_path: Path) -> None:
    async with gateway_house(tmp_path) as home:
        await home.grant("github")
        await home.ask("what are the open issues?")
        assert len(home.proxy.calls) == 1


async def test_a_sandbox_that_does_not_stand_starts_no_runner(tmp_path: Path) -> None:
    async with gateway_house(tmp_path) as home:
        home.spawner.refuses = True
        events = await home.ask("hello")
        assert events[-1].data["code"] == ProblemCode.SANDBOX_REFUSED.value
        assert home.spawner.processes == []
        assert home.proxy.forwarded == []


CASES = {*EGRESS, "policy", "gateway's recorder", "sandbox"}


def test_each_port_has_a_case_and_each_case_a_port() -> None:
    assert sorted(CASES) == sorted(PORTS)


def test_each_part_of_the_pipeline_is_a_port() -> None:
    """A part that somebody adds to the pipeline is a check that can fail: it must be listed."""
    import inspect

    parts = set(inspect.signature(EgressPipeline).parameters)
    named = {case.part for cases in EGRESS.values() for case in cases} - {"scrubber"}
    assert parts == named
