from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from egress_house import SECRET, House
from proxy_doors import client, make_door

from mycelos.proxy import materialize
from mycelos.proxy.ledger.clock import Moment
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.materialize import WINDOW_SECONDS, DeniedError, Materializing
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = Moment(1_800_000_000.0, 50.0)

    def __call__(self) -> Moment:
        return self.now

    def go_on(self, wall: float, monotonic: float) -> None:
        self.now = Moment(self.now.wall + wall, self.now.monotonic + monotonic)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lockdown(house: House) -> Lockdown:
    return Lockdown.open(house.vault.database, house.vault.keys)


@pytest.fixture
async def materializing(house: House, clock: Clock, lockdown: Lockdown) -> Materializing:
    await house.store(8080, "telegram")
    await house.store(8081, "github")
    return Materializing(vault=house.vault, recorder=house.recorder, lockdown=lockdown, clock=clock)


async def ask(materializing: Materializing, service: str = "telegram") -> str:
    """What was given out, or the code of the refusal."""
    try:
        async with materializing.given_out(service) as secret:
            return secret.reveal().decode()
    except Refusal as refusal:
        return refusal.problem.code.value


async def reasons(house: House) -> list[str]:
    return [entry["reason"] for entry in await house.entries("proxy.materialize_denied")]


async def test_it_is_off_until_it_is_armed_and_good_once(house: House, materializing: Materializing) -> None:
    assert await ask(materializing) == "materialize_denied"
    armed = await materializing.arm("telegram")
    assert (armed.seconds, armed.credential_version) == (300, 1)
    assert await ask(materializing) == SECRET
    assert await ask(materializing) == "materialize_denied"
    assert await reasons(house) == ["not_armed", "not_armed"]
    given = await house.entries("proxy.credential_materialized")
    assert [(entry["phase"], entry["outcome"], entry["subject"]) for entry in given] == [
        ("intent", "", "telegram"),
        ("outcome", "ok", "telegram"),
    ]
    assert SECRET not in str(await house.entries(""))


async def test_another_service_is_neither_armed_nor_given_out_and_spends_nothing(
    house: House, materializing: Materializing
) -> None:
    with pytest.raises(DeniedError, match="Only telegram"):
        await materializing.arm("github")
    await materializing.arm("telegram")
    for service in ("github", "never-stored-here", "Telegram", "telegram ", "telegram\n", "telegrаm", "", "x" * 200):
        assert await ask(materializing, service) == "materialize_denied"
    assert set(await reasons(house)) == {"service"}
    assert {entry["subject"] for entry in await house.entries("proxy.materialize_denied")} == {"github", ""}
    assert await ask(materializing) == SECRET


@pytest.mark.parametrize(
    ("wall", "monotonic", "reason"),
    [
        (WINDOW_SECONDS, WINDOW_SECONDS, "window"),
        (WINDOW_SECONDS + 1, WINDOW_SECONDS, "window"),
        (0, WINDOW_SECONDS, "clock"),
        (-3600, 0, "clock"),
        (3600, 0, "clock"),
        (3600, WINDOW_SECONDS - 1, "clock"),
        (-1, -1, "window"),
    ],
)
async def test_after_its_window_or_with_a_clock_that_was_moved_it_is_over(
    house: House, materializing: Materializing, clock: Clock, wall: float, monotonic: float, reason: str
) -> None:
    await materializing.arm("telegram")
    clock.go_on(wall, monotonic)
    assert await ask(materializing) == "materialize_denied"
    assert await reasons(house) == [reason]
    # Whoever moves it back has gained nothing: the attempt has spent it.
    clock.go_on(-wall, -monotonic)
    assert await ask(materializing) == "materialize_denied"


async def test_up_to_its_end_the_window_is_open(materializing: Materializing, clock: Clock) -> None:
    await materializing.arm("telegram")
    clock.go_on(WINDOW_SECONDS - 0.001, WINDOW_SECONDS - 0.001)
    assert await ask(materializing) == SECRET


async def test_the_window_is_looked_at_again_when_the_intent_is_on_disk(
    house: House, materializing: Materializing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = house.recorder.intent

    async def slow(*arguments: Any, **about: Any) -> Any:
        clock.go_on(WINDOW_SECONDS, WINDOW_SECONDS)
        return await original(*arguments, **about)

    monkeypatch.setattr(house.recorder, "intent", slow)
    await materializing.arm("telegram")
    assert await ask(materializing) == "materialize_denied"
    outcome = (await house.entries("proxy.credential_materialized"))[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "window")


async def test_a_lockdown_refuses_and_ends_what_was_armed_before_it(
    house: House, materializing: Materializing, lockdown: Lockdown
) -> None:
    await materializing.arm("telegram")
    lockdown.stop()
    with pytest.raises(Refusal, match="locked_down"):
        await materializing.arm("telegram")
    assert await ask(materializing) == "locked_down"
    await lockdown.lift()
    await materializing.arm("telegram")
    lockdown.stop()
    await lockdown.lift()
    assert await ask(materializing) == "materialize_denied"
    assert await reasons(house) == ["locked_down", "not_armed"]


async def test_a_credential_that_changed_since_it_was_armed_is_not_given_out(
    house: House, materializing: Materializing
) -> None:
    with pytest.raises(Refusal, match="credential_unknown"):
        await house.vault.delete("telegram")
        await materializing.arm("telegram")
    await house.store(8080, "telegram")
    await materializing.arm("telegram")
    await house.vault.rotate("telegram", "another-secret")
    assert await ask(materializing) == "credential_unknown"
    await materializing.arm("telegram")
    assert await ask(materializing) == "another-secret"


async def test_a_damaged_record_is_not_given_out(house: House, materializing: Materializing) -> None:
    await materializing.arm("telegram")
    stored = house.vault._contents.records["telegram"]
    broken = replace(stored, sealed=replace(stored.sealed, payload=stored.sealed.payload[:-1] + b"\0"))
    house.vault._remember("telegram", broken)
    assert await ask(materializing) == "vault_unavailable"
    outcome = (await house.entries("proxy.credential_materialized"))[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "vault_unavailable")


async def test_without_a_ledger_nothing_is_given_out(
    house: House, materializing: Materializing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await materializing.arm("telegram")
    await house.recorder.close()
    assert await ask(materializing) == "audit_unavailable"
    assert await ask(materializing, "github") == "audit_unavailable"


async def test_of_many_that_ask_at_once_one_is_given_it(house: House, materializing: Materializing) -> None:
    await materializing.arm("telegram")
    given = await asyncio.gather(*(ask(materializing) for _ in range(50)))
    assert sorted(set(given)) == [SECRET, "materialize_denied"]
    assert given.count(SECRET) == 1
    assert len(await reasons(house)) == 49


async def test_an_arming_that_fails_ends_the_one_before(materializing: Materializing) -> None:
    await materializing.arm("telegram")
    with pytest.raises(DeniedError):
        await materializing.arm("github")
    assert await ask(materializing) == "materialize_denied"


async def test_an_answer_that_broke_off_is_on_record_and_spent(house: House, materializing: Materializing) -> None:
    await materializing.arm("telegram")
    with pytest.raises(ConnectionResetError):
        async with materializing.given_out("telegram"):
            raise ConnectionResetError
    outcome = (await house.entries("proxy.credential_materialized"))[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("failed", "ConnectionResetError")
    assert await ask(materializing) == "materialize_denied"


async def test_through_the_door_it_comes_once_and_no_cache_keeps_it(house: House, materializing: Materializing) -> None:
    door = make_door(house, materializing=materializing)
    async with client(door) as asking:
        for body in (b"", b"{}", b"null", b'{"service":"telegram","x":1}', b"\xff", b'{"service":["telegram"]}'):
            refused = await asking.post("/credential/materialize", content=body)
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
        large = await asking.post("/credential/materialize", content=bytes(300 * 1024))
        assert large.json()["code"] == "too_large"
        await materializing.arm("telegram")
        async with client(door, {"Authorization": "Bearer x", "Mycelos-Protocol": "1"}) as stranger:
            assert (await stranger.post("/credential/materialize", json={"service": "telegram"})).status_code == 401
        given = await asking.post("/credential/materialize", json={"service": "telegram"})
        assert (given.status_code, given.json()) == (200, {"service": "telegram", "secret": SECRET})
        assert given.headers["cache-control"] == "no-store"
        again = await asking.post("/credential/materialize", json={"service": "telegram"})
        assert (again.status_code, again.json()["code"]) == (403, "materialize_denied")
        assert SECRET not in again.text
    assert await reasons(house) == ["invalid_request"] * 6 + ["too_large", "not_armed"]
    assert len(await house.entries("proxy.auth_failed")) == 1


async def test_without_the_end_of_the_window_it_would_be_given_out_later(
    materializing: Materializing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialize, "WINDOW_SECONDS", float("inf"))
    monkeypatch.setattr(materialize, "step_between", lambda *_: 0.0)
    materializing._arming = materialize._Arming(materializing._vault.find("telegram"), clock.now, "")  # type: ignore[arg-type]
    clock.go_on(0, WINDOW_SECONDS * 100)
    assert await ask(materializing) == SECRET
