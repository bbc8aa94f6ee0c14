from __future__ import annotations

import platform
import sqlite3

import pytest

from mycelos import __version__
from mycelos.wire.egress import CredentialSummary

pytestmark = pytest.mark.anyio


async def test_a_credential_shows_service_label_and_time_and_nothing_else(page) -> None:
    page.proxy.stored = [
        CredentialSummary(
            service="github",
            label="work",
            created_at="2026-01-01T00:00:00.000000Z",
            bindings=({"host": "api.github.com"},),
            last_used_at="2026-01-02T00:00:00.000000Z",
        )
    ]
    answer = await page.command_line().get("/api/credentials/list")
    assert answer.json() == [{"service": "github", "label": "work", "created_at": "2026-01-01T00:00:00.000000Z"}]


async def test_no_route_has_a_field_for_a_secret(page) -> None:
    """Walks the whole description of the API: what comes in and what goes out."""
    described = (await page.command_line().get("/openapi.json")).json()
    names = {name for schema in described["components"]["schemas"].values() for name in schema.get("properties", {})}
    assert {"service", "capabilities", "base_url"} <= names
    for word in ("secret", "key", "password", "plaintext", "value", "authorization"):
        assert not [name for name in names if word in name.lower()]
    for body, schema in described["components"]["schemas"].items():
        if body.startswith("New") or body == "AgentChange":
            assert schema["additionalProperties"] is False


async def test_events_are_asked_for_by_the_ledgers_own_words(page) -> None:
    page.proxy.entries = [{"seq": 0, "event": "auth.login"}]
    client = page.command_line()
    answer = await client.get(
        "/api/audit/events", params={"limit": 5, "suspicious": "true", "after": 3, "since": "2026-01-01T00:00:00+01:00"}
    )
    assert answer.json() == page.proxy.entries
    assert page.proxy.queries == [
        {"limit": 5, "suspicious": True, "outside": False, "after": 3, "since": "2025-12-31T23:00:00.000000Z"}
    ]
    texts = {"event": "run", "agent": "a", "run": "r", "outcome": "ok", "host": "h.example", "source": "known"}
    narrow = {"before": 9, **texts}
    await client.get("/api/audit/events", params=narrow | {"outside": "true"})
    assert page.proxy.queries[-1] == {"limit": 100, "suspicious": False, "outside": True, **narrow}
    for bad in (
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"suspicious": "perhaps"},
        {"after": "x"},
        {"before": -1},
        {"outside": "perhaps"},
        {"run": "x" * 513},
        {"source": "x"},
        {"since": "x" * 41},
        {"since": "zzz"},
        {"since": "2026-01-01"},
        {"suspicous": "true"},
        [("limit", 1), ("limit", 2)],
    ):
        answer = await client.get("/api/audit/events", params=bad)
        assert answer.status_code == 400
        assert next(iter(dict(bad))) in answer.json()["detail"]
    assert "suspicious" in (await client.get("/api/audit/events?suspicous=true")).json()["next"]


async def test_the_status_says_whether_the_proxy_answers(page) -> None:
    client = page.command_line()
    await page.begin_run()
    assert (await client.get("/api/status")).json() == {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.release(),
        "mode": "host",
        "walls": ["landlock", "seccomp"],
        "missing_walls": [],
        "proxy": "ok",
        "ledger_alarm": None,
        "locked_down": False,
        "agents": 1,
        "models": 0,
        "open_runs": 1,
    }
    page.proxy.is_down = True
    assert (await client.get("/api/status")).json()["proxy"] == "unavailable"
