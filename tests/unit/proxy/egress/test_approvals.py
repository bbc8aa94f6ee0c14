"""Requests that wait for a person: the store alone, then through the pipeline with vault, ledger and upstream."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from egress_house import House, Upstream, answer, binding_for, call_for, fetch, serve

from mycelos.proxy.egress import approvals as approvals_module
from mycelos.proxy.egress.approval_check import WAITING_BODY_LIMIT, Asked, Held, State
from mycelos.proxy.egress.approvals import LIFETIME_SECONDS, Approvals
from mycelos.proxy.operator_door.approvals import forget_outdated
from mycelos.wire.binding import UrlPath
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

ASKED = Asked("github", "cred_1", 1, "POST", "https://a.example/", "bearer", (), b"hello", "run_1", "helper", "")


class Clock:
    """A monotonic clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal(act: Any, *arguments: Any, **keywords: Any) -> ProblemCode:
    with pytest.raises(Refusal) as caught:
        act(*arguments, **keywords)
    return caught.value.problem.code


def test_what_waits_is_decided_once() -> None:
    store = Approvals()
    first, second = store.hold(ASKED), store.hold(replace(ASKED, body=b"other"))
    assert store.waiting() == (first, second)
    assert first.digest != second.digest
    assert refusal(store.decide, first.id, second.digest, is_approved=True) is ProblemCode.CONFLICT
    assert store.decide(first.id, first.digest, is_approved=True).state is State.APPROVED
    for is_approved in (True, False):
        assert refusal(store.decide, first.id, first.digest, is_approved=is_approved) is ProblemCode.CONFLICT
    assert store.decide(second.id, second.digest, is_approved=False).state is State.REFUSED
    assert refusal(store.decide, second.id, second.digest, is_approved=True) is ProblemCode.CONFLICT
    assert refusal(store.decide, "appr_x", first.digest, is_approved=True) is ProblemCode.NOT_FOUND
    assert store.waiting() == ()


def test_two_asks_of_one_request_have_two_digests_for_there_is_a_nonce() -> None:
    store = Approvals()
    first = store.hold(ASKED)
    store.decide(first.id, first.digest, is_approved=False)
    assert store.hold(ASKED).digest != first.digest


def test_an_approval_is_used_up_once_and_the_request_is_kept_no_longer() -> None:
    store = Approvals()
    held = store.hold(ASKED)
    assert refusal(store.spend, held) is ProblemCode.APPROVAL_REQUIRED
    approved = store.decide(held.id, held.digest, is_approved=True)
    store.spend(approved)
    assert refusal(store.spend, approved) is ProblemCode.APPROVAL_REQUIRED
    used = store.find(held.id)
    assert used is not None
    assert (used.state, used.asked) == (State.SENT, None)


def test_the_same_request_is_found_while_it_is_open_and_only_for_its_asker() -> None:
    store = Approvals()
    held = store.hold(ASKED)
    assert store.same(replace(ASKED)) == held
    assert store.same(replace(ASKED, run="run_2")) is None
    approved = store.decide(held.id, held.digest, is_approved=True)
    assert store.same(ASKED) == approved
    store.spend(approved)
    assert store.same(ASKED) is None


def test_what_is_not_decided_or_not_used_in_time_ends_and_somebody_is_told() -> None:
    clock = Clock()
    store = Approvals(clock)
    ended: list[tuple[str, str]] = []
    store.on_end = lambda held, why: ended.append((held.id, why))
    undecided, unused = store.hold(ASKED), store.hold(replace(ASKED, body=b"other"))
    store.decide(unused.id, unused.digest, is_approved=True)
    clock.now += LIFETIME_SECONDS - 1
    assert store.waiting() == (undecided,)
    clock.now += 1
    assert store.waiting() == ()
    assert ended == [(undecided.id, "time"), (unused.id, "time")]
    for held in (undecided, unused):
        assert refusal(store.decide, held.id, held.digest, is_approved=True) is ProblemCode.CONFLICT
        assert refusal(store.spend, held) is ProblemCode.APPROVAL_REQUIRED
    assert len(ended) == 2


@pytest.mark.parametrize(
    ("limit", "others"),
    [("_NUMBER_PER_RUN", {}), ("_NUMBER", {"run": "run_2"}), ("_BYTES_PER_RUN", {}), ("_BYTES", {"run": "run_2"})],
)
def test_what_comes_when_there_is_no_room_is_refused_and_pushes_nothing_out(
    limit: str, others: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Approvals()
    size = ASKED.size
    monkeypatch.setattr(approvals_module, limit, 1 if "NUMBER" in limit else size)
    first = store.hold(ASKED)
    assert refusal(store.hold, replace(ASKED, body=b"x", **others)) is ProblemCode.RATE_LIMITED
    assert store.waiting() == (first,)
    store.decide(first.id, first.digest, is_approved=False)
    assert store.hold(replace(ASKED, body=b"x", **others)).state is State.WAITING


def test_another_run_has_room_when_one_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals_module, "_NUMBER_PER_RUN", 1)
    store = Approvals()
    store.hold(ASKED)
    assert store.hold(replace(ASKED, run="run_2")).state is State.WAITING


def test_one_body_of_the_greatest_size_fits() -> None:
    assert Approvals().hold(replace(ASKED, body=bytes(WAITING_BODY_LIMIT))).state is State.WAITING


def test_what_is_over_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals_module, "_REMEMBERED", 2)
    store = Approvals()
    over: list[Held] = []
    waits = store.hold(replace(ASKED, body=b"waits"))
    for _ in range(3):
        over.append(store.hold(ASKED))
        store.decide(over[-1].id, over[-1].digest, is_approved=False)
    assert [store.find(held.id) is None for held in over] == [True, False, False]
    assert store.find(waits.id) == waits


def test_what_is_not_current_any_more_is_forgotten_approved_or_not() -> None:
    store = Approvals()
    ended: list[tuple[str, str]] = []
    store.on_end = lambda held, why: ended.append((held.id, why))
    waits, approved = store.hold(ASKED), store.hold(replace(ASKED, body=b"b"))
    stays = store.hold(replace(ASKED, service="other"))
    store.decide(approved.id, approved.digest, is_approved=True)
    store.forget("credential_changed", lambda asked: asked.service == "other")
    assert store.waiting() == (stays,)
    assert ended == [(waits.id, "credential_changed"), (approved.id, "credential_changed")]
    store.take_back(stays)
    assert store.find(stays.id) is None


# Through the pipeline.


async def refused(pipeline: Any, call: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await fetch(pipeline, call)
    return caught.value


def comment(upstream: Upstream, **changes: Any) -> Any:
    fields = {"service": "github", "body": b"hello", "length": 5, "run": "run_1", "agent": "helper"}
    return call_for(f"http://127.0.0.1:{upstream.port}/comments", "POST", **(fields | changes))


async def ask(house: House, pipeline: Any, call: Any) -> tuple[Held, Any]:
    """Have a person asked; the request with the id that the refusal gave."""
    problem = (await refused(pipeline, call)).problem
    assert problem.code is ProblemCode.APPROVAL_REQUIRED
    held = house.approvals.find(problem.approval.id)
    assert held is not None
    assert problem.approval.expires_at == held.expires_at
    return held, replace(call, approval=held.id)


def approve(house: House, held: Held) -> None:
    house.approvals.decide(held.id, held.digest, is_approved=True)


async def test_a_request_waits_is_approved_and_is_sent_once(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        assert (await refused(pipeline, named)).problem.approval.id == held.id
        # Asked again without the id, it is the same one; another run's is another.
        assert (await refused(pipeline, comment(upstream))).problem.approval.id == held.id
        other = (await refused(pipeline, comment(upstream, run="run_2"))).problem.approval.id
        assert [one.id for one in house.approvals.waiting()] == [held.id, other]
        assert upstream.connections == 0
        approve(house, held)
        assert (await fetch(pipeline, named))[0] == 200
        assert upstream.bodies == [b"hello"]
        again = await refused(pipeline, named)
        assert (again.problem.code, again.problem.approval) == (ProblemCode.APPROVAL_REQUIRED, None)
        assert len(upstream.heads) == 1
        asked = await house.entries("confirm.asked")
        assert [entry["details"]["approval_id"] for entry in asked] == [held.id, other]
        assert asked[0]["details"]["request_digest"] == held.digest
        sent = await house.entries("proxy.http_request")
        assert sent[0]["details"]["approval_id"] == held.id
        (misused,) = await house.entries("proxy.binding_violation")
        assert misused["details"]["reasons"] == ["approval_used"]


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b"hellp"},
        {"body": b""},
        {"body": None},
        {"method": "PUT"},
        {"headers": ((b"accept", b"x"),)},
        {"headers": ((b"idempotency-key", b"2"),)},
        {"run": "run_2"},
        {"agent": "other"},
        {"path": "/comments?x"},
        {"path": "/comment"},
        {"path": "/comments/"},
    ],
    ids=str,
)
async def test_a_request_that_differs_from_what_was_approved_is_refused(house: House, changes: dict[str, Any]) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        path = changes.get("path")
        given = {name: value for name, value in changes.items() if name != "path"}
        if path is not None:
            given["url"] = f"http://127.0.0.1:{upstream.port}{path}"
        refusal = await refused(pipeline, replace(named, **given))
        assert (refusal.problem.code, refusal.problem.approval) == (ProblemCode.APPROVAL_REQUIRED, None)
        (recorded,) = await house.entries("proxy.binding_violation")
        assert recorded["details"]["reasons"] == ["approval_of_another"]
        assert upstream.connections == 0
        # The approval itself is not lost by it.
        assert (await fetch(pipeline, named))[0] == 200


async def test_headers_that_do_not_go_out_change_nothing(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        assert (await fetch(pipeline, replace(named, headers=((b"cookie", b"a=b"), (b"x-own", b"1")))))[0] == 200


async def test_a_refused_request_is_not_sent(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        house.approvals.decide(held.id, held.digest, is_approved=False)
        assert (await refused(pipeline, named)).problem.code is ProblemCode.FORBIDDEN
        assert upstream.connections == 0
        assert await house.entries("proxy.binding_violation") == []


@pytest.mark.parametrize("change", ["rotate", "bind", "delete"])
@pytest.mark.parametrize("is_told", [True, False])
async def test_a_credential_that_changes_in_between_takes_its_approvals_with_it(
    house: House, change: str, is_told: bool
) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        match change:
            case "rotate":
                await house.vault.rotate("github", "another-secret-of-some-length")
            case "bind":
                await house.vault.bind("github", (binding_for(upstream.port, confirm=True),))
            case "delete":
                await house.vault.delete("github")
        if is_told:
            forget_outdated(house.approvals, house.vault, house.lockdown)
            assert house.approvals.find(held.id).state is State.ENDED  # type: ignore[union-attr]
        code = ProblemCode.CREDENTIAL_UNKNOWN if change == "delete" else ProblemCode.APPROVAL_REQUIRED
        assert (await refused(pipeline, named)).problem.code is code
        assert upstream.connections == 0


async def test_a_lockdown_in_between_forgets_what_waits_and_what_was_approved(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        house.lockdown.on_set = lambda: forget_outdated(house.approvals, house.vault, house.lockdown)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        waits, _ = await ask(house, pipeline, comment(upstream, body=b"other"))
        house.lockdown.stop()
        assert (await refused(pipeline, named)).problem.code is ProblemCode.LOCKED_DOWN
        assert house.approvals.waiting() == ()
        await house.lockdown.lift()
        assert (await refused(pipeline, named)).problem.approval is None
        assert refusal(house.approvals.decide, waits.id, waits.digest, is_approved=True) is ProblemCode.CONFLICT
        assert upstream.connections == 0


async def test_after_a_restart_the_next_request_asks_again(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        held, named = await ask(house, house.pipeline(upstream.port), comment(upstream))
        approve(house, held)
        house.approvals = Approvals()
        anew, _ = await ask(house, house.pipeline(upstream.port), named)
        assert anew.id != held.id
        assert upstream.connections == 0
        # An id that nobody gave out is on record: it may as well be made up.
        (recorded,) = await house.entries("proxy.binding_violation")
        assert recorded["reason"] == "approval_required"


async def test_nobody_is_asked_about_what_is_not_on_record(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        await house.recorder.close()
        refusal = await refused(house.pipeline(upstream.port), comment(upstream))
        assert (refusal.problem.code, refusal.problem.approval) == (ProblemCode.AUDIT_UNAVAILABLE, None)
        assert house.approvals.waiting() == ()


async def test_an_approval_without_a_ledger_sends_nothing_and_is_used_up(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        await house.recorder.close()
        assert (await refused(pipeline, named)).problem.code is ProblemCode.AUDIT_UNAVAILABLE
        assert upstream.connections == 0
        assert house.approvals.find(held.id).state is State.SENT  # type: ignore[union-attr]


async def test_a_full_house_refuses_and_says_so_on_record(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals_module, "_NUMBER", 0)
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        refusal = await refused(house.pipeline(upstream.port), comment(upstream))
        assert refusal.problem.code is ProblemCode.RATE_LIMITED
        assert "approval list" in refusal.problem.next
        (recorded,) = await house.entries("proxy.binding_violation")
        assert recorded["reason"] == "rate_limited"


async def test_of_two_that_come_with_one_approval_at_once_one_is_sent(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        found = await asyncio.gather(*(fetch(pipeline, named) for _ in range(8)), return_exceptions=True)
        assert sum(not isinstance(one, Refusal) for one in found) == 1
        assert upstream.bodies == [b"hello"]


async def test_a_limit_that_refuses_leaves_the_approval_for_later(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)

        class Full:
            def __getattr__(self, _name: str) -> Any:
                raise Refusal(ProblemCode.RATE_LIMITED, "full", "wait")

        assert (await refused(house.pipeline(upstream.port, open_calls=Full()), named)).problem.code is (
            ProblemCode.RATE_LIMITED
        )
        assert (await fetch(pipeline, named))[0] == 200


async def test_an_answer_on_its_way_goes_on_until_its_credential_is_bound_anew(house: House) -> None:
    async def never_ending(_head: bytes, _reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    async with serve(never_ending) as upstream:
        await house.store(upstream.port, confirm=True)
        pipeline = house.pipeline(upstream.port)
        held, named = await ask(house, pipeline, comment(upstream))
        approve(house, held)
        begun = asyncio.Event()

        async def read() -> None:
            async with pipeline.open(named) as exchange:
                async for _ in exchange.body():
                    begun.set()

        stream = asyncio.create_task(read())
        async with asyncio.timeout(20):
            await begun.wait()
            pipeline.recheck()
            assert not house.open_calls.all()[0].was_cut
            await house.vault.bind("github", (binding_for(upstream.port, confirm=True, path=("comments",)),))
            pipeline.recheck()
            with pytest.raises(Refusal, match="approval_required"):
                await stream


async def test_a_secret_in_the_path_is_shown_as_its_place(house: House) -> None:
    async with serve(answer()) as upstream:
        await house.store(upstream.port, confirm=True, inject=UrlPath(), secret="a-token-for-the-path")
        pipeline = house.pipeline(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/bot{{credential}}/send", service="github")
        held, named = await ask(house, pipeline, call)
        assert held.asked is not None
        assert held.asked.url.endswith("/bot{credential}/send")
        assert "a-token-for-the-path" not in repr(held)
        approve(house, held)
        await fetch(pipeline, named)
        assert b"/bota-token-for-the-path/send" in upstream.heads[0]


@pytest.mark.parametrize(("confirm", "times"), [(True, 1), (False, 2)])
async def test_what_a_person_approved_is_sent_over_a_connection_of_its_own_and_never_again(
    house: House, confirm: bool, times: int
) -> None:
    """A host that takes a request and closes gets it again over a new connection where nobody had to approve it."""

    async def take_and_close(head: bytes, _reader: object, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            writer.write(answer())
        else:
            writer.transport.abort()

    async with serve(take_and_close) as upstream:
        await house.store(upstream.port, service="open")
        await house.store(upstream.port, confirm=confirm)
        pipeline = house.pipeline(upstream.port)
        url = f"http://127.0.0.1:{upstream.port}/item"
        put = call_for(url, "PUT", service="github")
        if confirm:
            held, put = await ask(house, pipeline, put)
            approve(house, held)
        # A connection that may be used again.
        assert (await fetch(pipeline, call_for(url, "GET", service="open")))[0] == 200
        assert (await refused(pipeline, put)).problem.code is ProblemCode.UPSTREAM_UNREACHABLE
        assert [head.split()[0] for head in upstream.heads].count(b"PUT") == times
