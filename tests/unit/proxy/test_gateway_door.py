from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from egress_house import SECRET, House, answer, serve
from proxy_doors import AUTHORIZED, TOKEN, client, make_door

from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.turns import Turns
from mycelos.serving.http_server import HttpServer
from mycelos.wire.problems import MEDIA_TYPE

pytestmark = pytest.mark.anyio

ROUTES = [
    ("POST", "/http"), ("GET", "/forward/https/example.com/"), ("POST", "/credential/list"),
    ("POST", "/credential/materialize"), ("POST", "/audit/append"), ("GET", "/audit/events"),
    ("POST", "/secret/check"), ("GET", "/nothing"),
]  # fmt: skip


async def test_health_needs_no_bearer_and_tells_nothing(house: House) -> None:
    async with client(make_door(house), {}) as asking:
        response = await asking.get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_every_other_route_needs_the_bearer(house: House) -> None:
    wrong = (None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"bearer {TOKEN}", f"Basic {TOKEN}")
    door = make_door(house)
    for authorization in wrong:
        headers = {"Mycelos-Protocol": "1"} | ({} if authorization is None else {"Authorization": authorization})
        async with client(door, headers) as asking:
            for method, path in ROUTES:
                response = await asking.request(method, path)
                assert (response.status_code, response.headers["mycelos-refused"]) == (401, "unauthorized")
                assert response.headers["content-type"] == MEDIA_TYPE


async def test_two_authorization_headers_are_none(house: House) -> None:
    async with client(make_door(house), {"Mycelos-Protocol": "1"}) as asking:
        headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
        assert (await asking.post("/credential/list", headers=headers)).status_code == 401


async def test_failed_sign_ins_are_on_record_once_a_second_with_their_number(house: House) -> None:
    now = 100.0
    door = make_door(house, monotonic=lambda: now)
    async with client(door, {"Authorization": "Bearer wrong"}) as asking:
        for _ in range(5):
            await asking.get("/audit/events")
        now += 2
        await asking.get("/audit/events")
    entries = await house.entries("proxy.auth_failed")
    assert [entry["details"]["attempts"] for entry in entries] == [1, 5]
    assert "wrong" not in str(entries)


@pytest.mark.parametrize("version", [None, "", "0", "2", "1.0"])
async def test_the_protocol_version_is_demanded_and_answered(house: House, version: str | None) -> None:
    headers = {"Authorization": AUTHORIZED["Authorization"]} | (
        {} if version is None else {"Mycelos-Protocol": version}
    )
    async with client(make_door(house), headers) as asking:
        response = await asking.post("/credential/list")
        assert (response.status_code, response.json()["code"]) == (400, "protocol_unsupported")
        assert response.headers["mycelos-protocol"] == "1"


async def test_the_list_of_credentials_is_metadata_and_nothing_else(house: House) -> None:
    await house.store(8080)
    async with client(make_door(house)) as asking:
        response = await asking.post("/credential/list", content=b"{}")
        (credential,) = response.json()["credentials"]
        assert set(credential) == {"service", "label", "created_at", "bindings", "last_used_at"}
        assert SECRET not in response.text


async def test_no_credential_is_given_out_and_the_attempt_is_on_record(house: House) -> None:
    await house.store(8080, "telegram")
    async with client(make_door(house)) as asking:
        response = await asking.post("/credential/materialize", json={"service": "telegram"})
        assert (response.status_code, response.json()["code"]) == (403, "materialize_denied")
        assert SECRET not in response.text
    assert len(await house.entries("proxy.materialize_denied")) == 1


async def test_the_gateway_appends_its_own_events_and_no_other(house: House) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.post("/audit/append", json={"event": "run.started", "run": "run_x"})
        assert (response.status_code, response.json()["seq"]) == (200, 0)
        assert (await asking.post("/audit/append", json={"event": "proxy.started"})).json()["code"] == "forbidden"
        assert (await asking.post("/audit/append", json={"event": "run.started", "seq": 7})).status_code == 400
        (entry,) = (await asking.get("/audit/events", params={"event": "run.started"})).json()["entries"]
        assert (entry["source"], entry["run"]) == ("gateway", "run_x")
        assert (await asking.get("/audit/events", params={"limit": "-1"})).status_code == 400
        for key, value in (("since", "zzz"), ("since", ""), ("suspicious", "yes"), ("sinse", "24h")):
            refused = await asking.get("/audit/events", params={key: value})
            assert (refused.status_code, refused.json()["detail"].partition(":")[0]) == (400, key)
        assert "since" in (await asking.get("/audit/events", params={"sinse": "24h"})).json()["next"]
        assert (await asking.get("/audit/events", params={"since": "2999-01-01T00:00:00Z"})).json() == {"entries": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/audit/append", b'{"event":"tool.called","event":"run.started"}'),
        ("/audit/append", b'{"event":"tool.called","details":{"tool":"a","tool":"b"}}'),
        ("/secret/check", b'{"text":"a","text":"b"}'),
    ],
)
async def test_a_body_that_says_one_thing_twice_is_refused(house: House, path: str, body: bytes) -> None:
    async with client(make_door(house)) as asking:
        answer = await asking.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "stands there twice" in answer.json()["detail"]
    assert await house.recorder.events() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/http", 405), ("POST", "/audit/events", 405), ("POST", "/audit/checkpoint", 405),
        ("POST", "/audit/proof/inclusion", 405), ("POST", "/credential/store", 404), ("POST", "/credential/bind", 404),
        ("POST", "/egress/rules", 404), ("POST", "/key/rotate", 404), ("POST", "/lockdown", 404),
        ("POST", "//http", 404),
        ("POST", "/http/", 404), ("POST", "/%68ttp", 404),
    ],
)  # fmt: skip
async def test_what_the_operator_may_is_no_route_here(house: House, method: str, path: str, status: int) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.request(method, f"http://mycelos-proxy{path}")
        assert response.status_code == status


async def test_an_error_that_nobody_foresaw_is_named_by_its_type_alone(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def list(self) -> Any:
            message = f"library text with {SECRET}"
            raise RuntimeError(message)

    async with client(make_door(house, vault=Broken())) as asking:
        response = await asking.post("/credential/list")
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert SECRET not in response.text
    assert SECRET not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_body_that_is_too_large_is_refused(house: House) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.post("/audit/append", content=bytes(300 * 1024))
        assert (response.status_code, response.json()["code"]) == (413, "too_large")


LOCKED_ROUTES = [
    ("POST", "/http"), ("GET", "/forward/https/example.com/"), ("POST", "/forward/http/127.0.0.1:1/x"),
    ("POST", "/credential/materialize"), ("POST", "/mcp/call"),
]  # fmt: skip
OPEN_ROUTES = [("GET", "/healthz"), ("POST", "/credential/list"), ("GET", "/audit/events")]


@pytest.fixture
def lockdown(house: House) -> Lockdown:
    return Lockdown.open(house.vault.database, house.vault.keys)


async def test_while_locked_down_nothing_leaves_and_the_record_is_still_there(house: House, lockdown: Lockdown) -> None:
    async with client(make_door(house, lockdown=lockdown)) as asking:
        lockdown.stop()
        for method, path in LOCKED_ROUTES:
            response = await asking.request(method, path, json={})
            assert (response.status_code, response.json()["code"]) == (503, "locked_down"), path
            assert "mycelos lockdown --lift" in response.json()["next"]
        for method, path in OPEN_ROUTES:
            assert (await asking.request(method, path)).status_code == 200, path
        assert (await asking.post("/audit/append", json={"event": "run.started"})).status_code == 200
        await lockdown.lift()
        response = await asking.post("/http", json={})
        assert response.json()["code"] == "invalid_request"
    assert await house.entries("proxy.http_request") == []


async def test_without_the_refusal_a_request_passes_a_lockdown(
    house: House, lockdown: Lockdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as upstream:
        await house.allow(upstream.port)
        call = {"method": "GET", "url": f"http://127.0.0.1:{upstream.port}/"}
        lockdown.stop()
        async with client(make_door(house, upstream.port, lockdown=lockdown)) as asking:
            assert (await asking.post("/http", json=call)).json()["code"] == "locked_down"
            assert upstream.connections == 0
            monkeypatch.setattr(Lockdown, "refuse", lambda _: None)
            assert (await asking.post("/http", json=call)).json()["status"] == 200
            assert upstream.connections == 1


async def test_the_gateway_and_nobody_else_is_told_of_a_lockdown_with_each_answer(
    house: House, lockdown: Lockdown
) -> None:
    door = make_door(house, lockdown=lockdown)

    async def told(asking: Any, method: str, path: str) -> list[str]:
        return (await asking.request(method, path)).headers.get_list("mycelos-lockdown")

    async with client(door) as asking, client(door, {}) as stranger:
        assert await told(asking, "POST", "/credential/list") == []
        lockdown.stop()
        state = lockdown.state
        for path in ("/credential/list", "/http", "/audit/append", "/nothing"):
            assert await told(asking, "POST", path) == [f"set {state.last} {state.since}"]
            assert await told(stranger, "POST", path) == []
        assert await told(asking, "GET", "/healthz") == []
        await lockdown.lift()
        assert await told(asking, "POST", "/credential/list") == [f"lifted {state.last}"]


async def test_an_upstream_cannot_speak_of_a_lockdown(house: House) -> None:
    async with serve(answer(headers=b"Mycelos-Lockdown: set evil unknown\r\n")) as upstream:
        await house.allow(upstream.port)
        async with client(make_door(house, upstream.port)) as asking:
            response = await asking.get(f"/forward/http/127.0.0.1:{upstream.port}/")
            assert response.status_code == 200
            assert "mycelos-lockdown" not in response.headers


async def test_a_request_in_absolute_form_is_on_record_although_the_door_never_saw_it(house: House) -> None:
    now = 0.0
    door = make_door(house, monotonic=lambda: now)
    server = HttpServer(door, door.note_refused)
    for moment in (0.0, 0.5, 1.5):
        now = moment
        ours, theirs = socket.socketpair()
        await server.adopt(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        lines = ["GET http://thief.example/ HTTP/1.1", "host: thief.example", "Mycelos-Credential: github"]
        lines += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    await server.stop()
    found = await house.entries("proxy.binding_violation")
    assert [entry["details"]["reasons"] for entry in found] == [["head"]] * 2


async def test_who_looks_for_a_route_that_is_not_here_is_on_record_once_a_second(house: House) -> None:
    now = 100.0
    door = make_door(house, monotonic=lambda: now)
    async with client(door) as asking:
        for path in ("/credential/store", "/lockdown", "/materialize/arm"):
            assert (await asking.post(path, json={})).status_code == 404
        now += 2
        assert (await asking.get("/http")).status_code == 405
    async with client(door, {"Authorization": "Bearer wrong"}) as asking:
        await asking.get("/audit/events")
    entries = await house.entries("proxy.auth_failed")
    assert [(entry["reason"], entry["details"]["attempts"]) for entry in entries] == [
        ("route", 1), ("route", 3), ("bearer", 1),
    ]  # fmt: skip


async def test_the_list_takes_no_body_but_an_empty_one(house: House) -> None:
    async with client(make_door(house)) as asking:
        for body in (b"", b"{}"):
            assert (await asking.post("/credential/list", content=body)).status_code == 200
        for body in (b'{"service":"github"}', b"[]", b"null", b"\xff"):
            assert (await asking.post("/credential/list", content=body)).status_code == 400


async def test_a_text_with_a_stored_secret_is_told_from_another_and_put_on_record(house: House) -> None:
    await house.store(1)
    async with client(make_door(house)) as asking:
        for text, is_held in ((f"keep {SECRET.encode().hex()}", True), ("keep nothing", False)):
            response = await asking.post("/secret/check", json={"text": text})
            assert (response.status_code, response.json()) == (200, {"is_held": is_held})
        refused = await asking.post("/audit/append", json={"event": "run.started", "reason": f"x {SECRET}"})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
        assert SECRET not in refused.text
        assert (await asking.post("/audit/append", json={"event": "run.started", "reason": "x"})).status_code == 200
    entries = await house.entries("proxy.secret_refused")
    assert [entry["reason"] for entry in entries] == ["message", "entry"]
    assert SECRET not in str(entries)


async def test_what_cannot_be_an_entry_is_refused_alike_whatever_its_texts_hold(house: House) -> None:
    await house.store(1)
    async with client(make_door(house)) as asking:
        for wrong in (
            {"event": "nope", "details": {"tool": "TEXT"}},
            {"event": "credential.deleted", "subject": "TEXT"},
            {"event": "run.started", "details": {"nope": "TEXT"}},
            {"event": "run.started", "details": {"tools": "TEXT"}},
            {"event": "run.started", "details": {"TEXT": 1}},
            {"event": "run.started", "subject": "TEXT" * 200},
            {"event": "run.started", "phase": "outcome", "intent_seq": 99999, "subject": "TEXT"},
        ):
            answers = [
                await asking.post("/audit/append", content=json.dumps(wrong).replace("TEXT", text))
                for text in (SECRET, "x" * len(SECRET))
            ]
            assert [answer.status_code // 100 for answer in answers] == [4, 4], wrong
            first, second = (answer.json() for answer in answers)
            assert str(first).replace(SECRET, "") == str(second).replace("x" * len(SECRET), ""), wrong
    assert await house.entries("proxy.secret_refused") == []


async def test_only_what_would_be_written_is_looked_through(house: House) -> None:
    await house.store(1)
    async with client(make_door(house)) as asking:
        # What lies behind the limit of a text is cut off, and answers nothing.
        details = {"model": "y" * 1024 + SECRET}
        answer = await asking.post("/audit/append", json={"event": "run.started", "details": details})
        assert answer.status_code == 200
    (entry,) = await house.entries("run.started")
    assert entry["details"]["model"] == "y" * 1023 + "…"


async def test_guesses_by_messages_and_entries_end_together_and_that_is_on_record_once_a_minute(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mycelos.proxy.gateway_door.CLAIMED_CHARACTERS", 2000)
    await house.store(1)
    now = 0.0
    async with client(make_door(house, monotonic=lambda: now)) as asking:

        async def ask(number: int) -> list[int]:
            text = f"{number:04}" + "x" * 496
            message = await asking.post("/secret/check", json={"text": text})
            entry = await asking.post("/audit/append", json={"event": "run.started", "subject": text})
            return [message.status_code, entry.status_code]

        assert [await ask(number) for number in range(4)] == [[200, 200]] * 2 + [[429, 429]] * 2
        known = await asking.post("/audit/append", json={"event": "run.started", "subject": "0001" + "x" * 496})
        assert known.status_code == 200
        # The proxy's own entries meet no limit.
        assert (await asking.post("/nothing", json={})).status_code == 404
        entries = await house.entries("proxy.secret_refused")
        assert [(entry["reason"], entry["details"]["code"]) for entry in entries] == [("too_much_text", "rate_limited")]
        now = 60.0
        assert [await ask(number) for number in range(4, 7)] == [[200, 200]] * 2 + [[429, 429]]
        assert len(await house.entries("proxy.secret_refused")) == 2


async def test_a_message_of_the_longest_kind_is_looked_through_and_a_longer_one_refused(house: House) -> None:
    async with client(make_door(house)) as asking:
        for count, status in ((32_000, 200), (32_001, 400)):
            escaped = '{"text":"' + "\\ud83d\\ude00" * count + '"}'
            assert (await asking.post("/secret/check", content=escaped)).status_code == status


@pytest.mark.parametrize("turns", [2, 1000])
async def test_the_bodies_of_a_flood_are_read_a_few_in_each_round_of_the_loop(
    house: House, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """With 1,000 turns, which is no bound, whoever else is on the loop waits for all of them at once."""
    monkeypatch.setattr("mycelos.proxy.gateway_door.Turns", lambda: Turns(turns))
    begun, most = 0, 0
    door = make_door(house)

    async def count(_scope: Any, receive: Any, _send: Any) -> None:
        nonlocal begun
        await receive()
        begun += 1

    door._routes["POST", "/audit/append"] = count

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    headers = [(name.lower().encode(), value.encode()) for name, value in AUTHORIZED.items()]
    scope = {"type": "http", "method": "POST", "raw_path": b"/audit/append", "query_string": b"", "headers": headers}
    async with asyncio.TaskGroup() as tasks:
        for _ in range(100):
            tasks.create_task(door(dict(scope), receive, receive))
        while begun < 100:
            before = begun
            await asyncio.sleep(0)
            most = max(most, begun - before)
    assert (most <= 2) is (turns == 2)
