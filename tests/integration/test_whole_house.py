"""One request through the whole house: a person asks, an agent works with a credential that it never sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from running_system import TOKEN, RunningSystem, command_line

if TYPE_CHECKING:
    from pathlib import Path


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["kind"] for event in events]


def test_the_agent_reads_issues_with_a_credential_that_it_never_sees(system: RunningSystem) -> None:
    events = system.ask("what are the open issues?")
    assert events[-1]["kind"] == "done", events
    assert "The moss spreads over the path" in events[-1]["text"]
    assert kinds(events).count("token") > 5
    (call,) = [event for event in events if event["kind"] == "tool_call"]
    assert call["tool"] == "github.read.issues"
    assert system.seen("api")[-1] == {"method": "GET", "path": "/repos/mycelos/garden/issues", "authenticated": True}
    assert TOKEN not in json.dumps(events)
    assert TOKEN not in json.dumps(system.seen("model"))


def test_every_step_is_in_the_ledger_in_the_order_in_which_it_happened(system: RunningSystem) -> None:
    run = system.begin("what are the open issues?")
    assert list(system.follow(run))[-1]["kind"] == "done"
    steps = [(entry["event"], entry["phase"]) for entry in system.audit(run=run)]
    wanted = [
        ("run.started", "fact"),
        ("proxy.http_request", "intent"),
        ("policy.allowed", "fact"),
        ("tool.called", "intent"),
        ("proxy.http_request", "intent"),
        ("tool.called", "outcome"),
        ("proxy.http_request", "intent"),
        ("run.finished", "fact"),
    ]
    remaining = iter(steps)
    assert all(step in remaining for step in wanted), steps


def test_the_ledger_verifies_and_its_text_holds_no_secret(system: RunningSystem) -> None:
    system.ask("what are the open issues?")
    done = system.mycelos("db", "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in system.must("db", "audit", "--json", "--limit", "1000")
    assert TOKEN not in system.log()


def test_without_the_capability_the_call_is_refused_and_the_reason_said(system: RunningSystem) -> None:
    before = len(system.seen("api"))
    events = system.ask("please write a comment")
    (result,) = [event for event in events if event["kind"] == "tool_result"]
    assert (result["ok"], result["code"]) == (False, "policy_denied")
    assert "github.write" in result["content"]
    assert events[-1]["kind"] == "done"
    assert len(system.seen("api")) == before
    denied = system.audit("--suspicious", "--type", "policy.denied")
    assert denied[-1]["subject"] == "github.write.comment"


def test_the_same_conversation_in_the_wire_format_of_anthropic(system: RunningSystem) -> None:
    system.must(
        "model", "add", "scripted-anthropic", "--format", "anthropic", "--url", f"http://{system.outside['model']}",
        "--model", "scripted",
    )  # fmt: skip
    system.must("agent", "add", "translator", "--model", "scripted-anthropic", "--capability", "github.read")
    events = system.ask("what are the open issues?", agent="translator")
    assert events[-1]["kind"] == "done", events
    assert "The moss spreads over the path" in events[-1]["text"]
    assert system.seen("model")[-1]["path"] == "/v1/messages"


def test_a_model_s_key_is_injected_by_the_proxy_and_stands_nowhere_else(system: RunningSystem) -> None:
    key = "sk-stand-in-9fK2mQ7xW4"
    system.must(
        "credential", "add", "provider", "--host", f"http://{system.outside['model']}", "--method", "POST", "--stdin",
        stdin=key,
    )  # fmt: skip
    system.must(
        "model", "add", "keyed", "--format", "openai", "--url", f"http://{system.outside['model']}/v1",
        "--model", "scripted", "--credential", "provider",
    )  # fmt: skip
    system.must("agent", "add", "keyholder", "--model", "keyed")
    assert system.ask("hello", agent="keyholder")[-1]["kind"] == "done"
    request = system.seen("model")[-1]
    assert request["headers"]["authorization"] == f"Bearer {key}"
    assert key not in json.dumps(request["body"])
    assert key not in system.must("db", "audit", "--json", "--limit", "1000")


def test_the_terminal_chat_shows_the_answer_and_the_refusal(system: RunningSystem) -> None:
    answer = system.must("chat", "--agent", "gardener", "--once", "what are the open issues?")
    assert "The moss spreads over the path" in answer
    assert "github.read.issues" in answer
    refusal = system.must("chat", "--agent", "gardener", "--once", "please write a comment")
    assert "github.write" in refusal


def test_credentials_are_listed_as_metadata_only(system: RunningSystem) -> None:
    listed = system.api("GET", "/api/credentials/list")
    assert listed
    assert all(set(entry) == {"service", "label", "created_at"} for entry in listed)


def test_a_second_serve_on_the_same_folder_is_refused(system: RunningSystem) -> None:
    done = system.mycelos("serve")
    assert done.returncode == 1
    assert "already" in done.stderr


def test_status_shows_every_process(system: RunningSystem) -> None:
    status = json.loads(system.must("status", "--json"))
    text = json.dumps(status)
    assert all(name in text for name in ("proxy", "gateway", "operator", "spawner"))


def test_commands_without_a_running_system_say_what_to_do(short_directory: Path) -> None:
    data = short_directory / "data"
    assert command_line(data, "init").returncode == 0
    for words in (["agent", "list"], ["credential", "list"], ["chat", "--once", "hi"]):
        done = command_line(data, *words)
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert "mycelos serve" in done.stderr
        assert "Traceback" not in done.stderr
