from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mycelos.gateway.administration import Administration
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.store.store import Store
from mycelos.ledger.events import EVENTS, Event
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.egress import CredentialSummary
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


class Ledger:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.written: list[tuple[AppendRequest, int]] = []
        self.fails_at = -1

    async def append(self, request: AppendRequest) -> AppendReceipt:
        if len(self.written) == self.fails_at:
            raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "down", "wait")
        assert set(request.details) <= EVENTS[Event(request.event)].fields
        self.written.append((request, len(await self.store.agents.all())))
        return AppendReceipt(len(self.written) - 1, "00", None)


@pytest.fixture
async def ledger(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    store = await Store.open(tmp_path / "gateway.sqlite")
    yield Ledger(store)
    await store.close()


@pytest.fixture
def administration(ledger: Ledger) -> Administration:
    async def credentials() -> list[CredentialSummary]:
        return [CredentialSummary(service="openai", label="", created_at="", bindings=(), last_used_at=None)]

    return Administration(ledger.store, Recorder(ledger.append), credentials)


async def test_the_intent_is_durable_before_the_change_and_the_outcome_names_it(
    ledger: Ledger, administration: Administration
) -> None:
    await administration.create_agent("reader", "", (), None)
    (intent, agents_before), (outcome, agents_after) = ledger.written
    assert (intent.phase, agents_before) == ("intent", 1)
    assert (outcome.phase, outcome.intent_seq, outcome.outcome, agents_after) == ("outcome", 0, "ok", 2)


async def test_without_a_durable_intent_nothing_is_done(ledger: Ledger, administration: Administration) -> None:
    ledger.fails_at = 0
    with pytest.raises(Refusal):
        await administration.create_agent("reader", "", (), None)
    assert await ledger.store.agents.find("reader") is None


async def test_granting_and_removing_keep_the_rest(ledger: Ledger, administration: Administration) -> None:
    await administration.grant("assistant", "github.write")
    await administration.grant("assistant", "github.read")
    assert (await administration.grant("assistant", "github.read")).capabilities == ("github.read", "github.write")
    assert (await administration.remove("assistant", "github.write")).capabilities == ("github.read",)
    assert ledger.written[-2][0].details["capabilities"] == ["github.read"]


async def test_what_is_absent_stays_as_it_is(ledger: Ledger, administration: Administration) -> None:
    await administration.create_model("small", "openai", "http://127.0.0.1:1/v1", "m", None)
    before = await administration.agent("assistant")
    changed = await administration.change_agent("assistant", model="small")
    assert (changed.instructions, changed.capabilities, changed.model) == (before.instructions, (), "small")
    assert (await administration.change_agent("assistant", model="")).model is None
    assert ledger.written[2][0].details["changed"] == ["model"]


@pytest.mark.parametrize("act", ["delete_agent", "delete_model", "delete_chat", "create_chat", "agent"])
async def test_what_does_not_exist_is_refused_before_anything_is_recorded(
    ledger: Ledger, administration: Administration, act: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await getattr(administration, act)("none")
    assert refused.value.problem.code is ProblemCode.NOT_FOUND
    assert ledger.written == []


async def test_a_taken_name_and_an_unknown_credential_are_told_apart(
    ledger: Ledger, administration: Administration
) -> None:
    await administration.create_model("small", "openai", "http://127.0.0.1:1/v1", "m", "openai")
    with pytest.raises(Refusal) as taken:
        await administration.create_model("small", "openai", "http://127.0.0.1:1/v1", "m", "openai")
    assert taken.value.problem.code is ProblemCode.CONFLICT
    assert taken.value.problem.detail == "The name small is taken: there is a model of this name"
    with pytest.raises(Refusal) as unknown:
        await administration.create_model("other", "openai", "http://127.0.0.1:1/v1", "m", "none-such")
    assert unknown.value.problem.code is ProblemCode.CREDENTIAL_UNKNOWN
    assert "none-such" in unknown.value.problem.detail
    assert await ledger.store.models.find("other") is None
    with pytest.raises(Refusal, match="The name assistant is taken: there is an agent of this name"):
        await administration.create_agent("assistant", "", (), None)
    assert ledger.written[-1][0].outcome == "failed"
