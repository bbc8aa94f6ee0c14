"""`mycelos lockdown` over the real processes: what leaves stops, sessions end, and a restart changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from running_system import RunningSystem, running_system, wait_until

from mycelos.operator.client import OperatorClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def system(module_data: Path) -> Iterator[RunningSystem]:
    with running_system(module_data) as running:
        running.furnish("github.read")
        yield running


@pytest.fixture(autouse=True)
def _lifted(system: RunningSystem) -> Iterator[None]:
    yield
    system.must("lockdown", "--lift")


@contextlib.contextmanager
def browser(system: RunningSystem, *flags: str) -> Iterator[httpx2.Client]:
    """A browser that has signed in by a one-time link, at the page or at the vault page."""
    url = system.must("open", "--print", *flags).strip()
    base = url.partition("/login")[0]
    with httpx2.Client(base_url=base, headers={"Origin": base}, trust_env=False, timeout=30) as client:
        answer = client.post("/login", data={"code": url.partition("code=")[2]})
        assert answer.status_code == 303, answer.text
        if "--operator" in flags:
            # Below the session's own path, which the sign-in tells.
            client.base_url = client.base_url.join(answer.headers["location"])
        yield client


def is_signed_in(client: httpx2.Client, path: str = "/") -> bool:
    answer = client.get(path, headers={"Accept": "text/html"})
    return not answer.headers.get("location", "").startswith("/login")


def in_the_middle(system: RunningSystem) -> str:
    """A run whose model has begun to write and goes no further by itself: a stream through `/forward` is open."""
    run = system.begin("hang")
    for event in system.follow(run):
        if event["kind"] == "token":
            break
    return run


def last(events: list[dict[str, Any]]) -> tuple[Any, Any]:
    return events[-1]["kind"], events[-1].get("code")


def kill(system: RunningSystem, name: str) -> None:
    pid = system.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.pid(name) not in {pid, None} and system.is_healthy(), f"{name} comes back")


def test_a_lockdown_stops_everything_outlives_restarts_and_is_lifted_on_record(system: RunningSystem) -> None:
    with browser(system) as page, browser(system, "--operator") as vault:
        assert is_signed_in(page, "/agents")
        assert is_signed_in(vault)
        run = in_the_middle(system)
        before = len(system.seen("model"))

        report = json.loads(system.must("lockdown", "--json"))
        assert (report["locked"], report["not_done"]) == (True, [])
        assert report["sessions"] >= 1

        end = wait_until(lambda: (list(system.follow(run)) or [None])[-1], "the run's end")
        assert (end["kind"], end["code"]) == ("error", "locked_down"), end
        assert not is_signed_in(page, "/agents")
        assert not is_signed_in(vault)
        assert last(system.ask("what are the open issues?")) == ("error", "locked_down")

        kill(system, "proxy")
        assert last(system.ask("what are the open issues?")) == ("error", "locked_down")
        system.stop()
        system.start()
        status = json.loads(system.must("status", "--json"))
        assert (status["locked_down"], status["locked_down_since"]) == (True, report["since"])
        assert last(system.ask("what are the open issues?")) == ("error", "locked_down")
        assert len(system.seen("model")) == before, "nothing left meanwhile"
        assert not is_signed_in(page, "/agents")

    with browser(system) as page, browser(system, "--operator") as vault:
        assert "Egress is locked down since" in page.get("/agents").text
        assert "Locked down since" in vault.get("/").text
        system.must("lockdown", "--lift")
        assert last(system.ask("what are the open issues?"))[0] == "done"
        assert is_signed_in(page, "/agents"), "a session from after the lockdown stays"
        assert "Locked down since" not in vault.get("/").text

    events = [entry["event"] for entry in system.audit("--type", "lockdown")]
    assert events == ["lockdown.set", "lockdown.set", "lockdown.lifted", "lockdown.lifted"]
    assert {entry["reason"] for entry in system.audit("--type", "auth.session_revoked")} == {"lockdown"}
    done = system.mycelos("db", "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_lockdown_from_the_vault_page_reaches_the_gateway_with_the_proxys_next_answer(system: RunningSystem) -> None:
    with browser(system) as page:
        run = in_the_middle(system)
        assert OperatorClient(system.layout).set_lockdown(enabled=True).shortcomings == ()
        # Any call that the gateway makes brings the news; then it ends what it has.
        system.api("GET", "/api/credentials/list")
        end = wait_until(lambda: (list(system.follow(run)) or [None])[-1], "the run's end")
        assert (end["kind"], end["code"]) == ("error", "locked_down"), end
        wait_until(lambda: not is_signed_in(page, "/agents"), "the session's end")
    with browser(system) as page:
        assert is_signed_in(page, "/agents")


def test_a_gateway_that_does_not_answer_does_not_keep_egress_open(system: RunningSystem) -> None:
    gateway = system.pid("gateway")
    assert gateway
    with browser(system) as page:
        os.kill(gateway, signal.SIGSTOP)
        try:
            done = system.mycelos("lockdown")
        finally:
            os.kill(gateway, signal.SIGCONT)
        assert done.returncode == 1
        assert "nothing leaves" in done.stdout
        assert "The gateway does not answer" in done.stderr
        system.api("GET", "/api/credentials/list")
        wait_until(lambda: not is_signed_in(page, "/agents"), "the session's end")
        assert last(system.ask("what are the open issues?")) == ("error", "locked_down")
