from __future__ import annotations

from typing import Any

import pytest
from egress_house import SECRET, House
from proxy_doors import AUTHORIZED, TOKEN, client, make_door

from mycelos.wire.problems import MEDIA_TYPE

pytestmark = pytest.mark.anyio

ROUTES = [
    ("POST", "/http"), ("GET", "/forward/https/example.com/"), ("POST", "/credential/list"),
    ("POST", "/credential/materialize"), ("POST", "/audit/append"), ("GET", "/audit/events"), ("GET", "/nothing"),
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
    ("method", "path", "status"),
    [
        ("GET", "/http", 405), ("POST", "/audit/events", 405), ("GET", "/audit/checkpoint", 404),
        ("GET", "/audit/proof/inclusion", 404), ("POST", "/credential/store", 404), ("POST", "/credential/bind", 404),
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
