"""A credential that a person confirms each time, in the whole house: agent, gateway, proxy, command line, upstream."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from running_system import RunningSystem, running_system, wait_until

from mycelos.gateway.models import PURPOSE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def system(module_data: Path) -> Iterator[RunningSystem]:
    """An installation whose agent `gardener` may read GitHub, with a credential that a person confirms each time."""
    with running_system(module_data) as running:
        running.furnish("github.read")
        running.must(
            "credential", "bind", "github", "--host", f"http://{running.outside['api']}", "--method", "GET", "--confirm"
        )
        yield running


def waiting(system: RunningSystem) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(system.must("approval", "list", "--json"))
    return found


def until_asked(system: RunningSystem, run: str) -> dict[str, Any]:
    """The one request of a run that waits for a person."""

    def asked() -> list[dict[str, Any]]:
        return [one for one in waiting(system) if one["run"] == run]

    (found,) = wait_until(asked, "a request waits for a person")
    return dict(found)


def arrived(system: RunningSystem) -> int:
    return len(system.seen("api"))


def events_of(system: RunningSystem, run: str, *names: str) -> list[dict[str, Any]]:
    return [entry for entry in system.audit(run=run) if entry["event"] in names]


def test_a_tool_waits_the_exact_request_is_shown_and_once_approved_it_is_sent_once(system: RunningSystem) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    assert (asked["service"], asked["agent"], asked["purpose"]) == ("github", "gardener", "github.read.issues")
    assert (asked["method"], asked["inject_as"], asked["body_text"], asked["body_base64"]) == (
        "GET", "bearer", None, None,
    )  # fmt: skip
    url = f"http://{system.outside['api']}/repos/mycelos/garden/issues?state=open&per_page=20"
    assert asked["url"] == url
    assert ["accept", "application/vnd.github+json"] in asked["headers"]
    shown = system.must("approval", "show", asked["id"])
    assert "Method:     GET" in shown.split("\n")
    assert f"URL:        {url}\n" in re.sub(r"\|\n +\| ", "", shown)
    assert arrived(system) == before
    assert asked["digest"] in system.must("approval", "decide", asked["id"], "approve")
    events = list(system.follow(run))
    assert [event["approval"] for event in events if event["kind"] == "approval"] == [asked["id"]]
    (result,) = [event for event in events if event["kind"] == "tool_result"]
    assert result["ok"]
    assert "The moss spreads over the path" in events[-1]["text"]
    assert arrived(system) == before + 1
    assert waiting(system) == []
    again = system.mycelos("approval", "decide", asked["id"], "approve")
    assert (again.returncode, again.stdout) == (1, "")
    steps = [(entry["event"], entry["phase"]) for entry in system.audit() if asked["id"] in json.dumps(entry)]
    assert steps == [
        ("confirm.asked", "fact"), ("confirm.granted", "intent"), ("proxy.http_request", "intent"),
    ]  # fmt: skip


def test_a_refused_request_is_not_sent_and_the_agent_is_told_and_goes_on(system: RunningSystem) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    assert "Refused" in system.must("approval", "decide", asked["id"], "refuse")
    events = list(system.follow(run))
    (result,) = [event for event in events if event["kind"] == "tool_result"]
    assert (result["ok"], result["code"]) == (False, "forbidden")
    assert "A person has refused this request" in result["content"]
    assert events[-1]["kind"] == "done"
    assert arrived(system) == before


def test_a_credential_that_is_rotated_in_between_sends_nothing(system: RunningSystem) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    system.must("credential", "rotate", "github", "--stdin", stdin="another-secret-of-some-length")
    assert waiting(system) == []
    assert system.mycelos("approval", "decide", asked["id"], "approve").returncode == 1
    (result,) = [event for event in system.follow(run) if event["kind"] == "tool_result"]
    assert (result["ok"], result["code"]) == (False, "approval_required")
    assert arrived(system) == before
    (ended,) = events_of(system, run, "confirm.expired")
    assert ended["reason"] == "credential_changed"


def test_a_run_that_waits_can_be_cancelled_and_what_it_asked_is_never_sent(system: RunningSystem) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    system.api("POST", f"/api/runs/{run}/cancel")
    assert list(system.follow(run))[-1]["code"] == "cancelled"
    # Nobody comes for it any more, whatever the person says.
    system.must("approval", "decide", asked["id"], "approve")
    assert arrived(system) == before


def test_a_question_to_a_model_waits_too(system: RunningSystem) -> None:
    system.must(
        "credential", "add", "provider", "--host", f"http://{system.outside['model']}", "--method", "POST", "--confirm",
        "--stdin", stdin="sk-stand-in-9fK2mQ7xW4",
    )  # fmt: skip
    for wire in ("openai", "anthropic"):
        url = f"http://{system.outside['model']}" + ("/v1" if wire == "openai" else "")
        system.must(
            "model", "add", f"kept-{wire}", "--format", wire, "--url", url, "--model", "scripted", "--credential",
            "provider",
        )  # fmt: skip
        system.must("agent", "add", f"thinker-{wire}", "--model", f"kept-{wire}")
        before = len(system.seen("model"))
        run = system.begin("hello", agent=f"thinker-{wire}")
        asked = until_asked(system, run)
        assert (asked["method"], asked["purpose"]) == ("POST", PURPOSE)
        assert json.loads(asked["body_text"])["model"] == "scripted"
        system.must("approval", "decide", asked["id"], "approve")
        assert list(system.follow(run))[-1]["kind"] == "done"
        assert len(system.seen("model")) == before + 1


def test_after_a_restart_of_the_proxy_nothing_is_approved_and_the_next_request_asks_again(
    system: RunningSystem,
) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    proxy = system.pid("proxy")
    assert proxy is not None
    os.kill(proxy, signal.SIGKILL)
    wait_until(lambda: system.pid("proxy") not in {None, proxy} and system.is_healthy(), "the proxy is back")
    # A run that did not come by while the proxy was down has asked again by itself.
    assert asked["id"] not in {one["id"] for one in waiting(system)}
    assert system.mycelos("approval", "decide", asked["id"], "approve").returncode == 1
    anew = until_asked(system, system.begin("what are the open issues?"))
    assert anew["id"] != asked["id"]
    assert arrived(system) == before


def test_a_lockdown_forgets_what_waits(system: RunningSystem) -> None:
    before = arrived(system)
    run = system.begin("what are the open issues?")
    asked = until_asked(system, run)
    system.must("lockdown")
    assert waiting(system) == []
    system.must("lockdown", "--lift")
    assert system.mycelos("approval", "decide", asked["id"], "approve").returncode == 1
    assert arrived(system) == before
    assert [entry["reason"] for entry in events_of(system, run, "confirm.expired")] == ["lockdown"]
