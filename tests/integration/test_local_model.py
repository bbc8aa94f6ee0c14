"""A real language model: llama.cpp's own server with the tiny model, reached by an agent through broker and proxy."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from running_system import RunningSystem, free_port, running_system

from mycelos.cli.local_model import LocalModel, LocalModelError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def tiny(module_data: Path) -> Iterator[str]:
    """The address `host:port` of the tiny model's server."""
    model = LocalModel(module_data / "local")
    model.folder.mkdir(mode=0o700)
    # The development environment has what `mycelos local install` puts into an environment of its own.
    model.environment.symlink_to(sys.prefix)
    try:
        model.weights()
    except LocalModelError:
        pytest.skip("the tiny model's weights are not here; get them with: scripts/setup_model.sh")
    port = free_port()
    model.start(port)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        descriptor = model.open_process()
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


@pytest.fixture(scope="module")
def talking_system(module_data: Path, tiny: str) -> Iterator[RunningSystem]:
    with running_system(module_data, MYCELOS_EGRESS_OPEN=tiny) as system:
        system.must("egress", "allow", f"http://{tiny}", "--method", "POST")
        system.must("model", "add", "tiny", "--url", f"http://{tiny}/v1", "--model", "smollm2-135m")
        system.must("agent", "edit", "assistant", "--model", "tiny")
        yield system


QUESTIONS = ("Count from one to twenty.", "Say hello to the garden.", "Tell me a story about a river.")


def test_its_answer_arrives_token_by_token(talking_system: RunningSystem) -> None:
    longest = 0
    for question in QUESTIONS:  # The model is free to answer one of them with a single word.
        events = talking_system.ask(question, agent="assistant")
        tokens = [event["text"] for event in events if event["kind"] == "token"]
        assert events[-1]["kind"] == "done", events[-1]
        assert "".join(tokens).strip() == events[-1]["text"].strip()
        longest = max(longest, len(tokens))
    assert longest > 1


def test_a_terminal_chat_shows_its_answer(talking_system: RunningSystem) -> None:
    assert talking_system.must("chat", "--once", "Name a colour.").strip()


def test_its_requests_are_on_record(talking_system: RunningSystem, tiny: str) -> None:
    talking_system.must("model", "test", "tiny")
    entries = talking_system.audit("--type", "proxy.http_request")
    intents = [entry for entry in entries if entry["phase"] == "intent"]
    assert {(entry["subject"], entry["details"]["port"]) for entry in intents} == {("127.0.0.1", int(tiny[10:]))}
    assert [entry["intent_seq"] for entry in entries if entry["phase"] == "outcome"] == [
        each["seq"] for each in intents
    ]
    talking_system.must("db", "audit", "verify")


def test_pages_of_other_origins_may_not_use_it(tiny: str) -> None:
    answer = httpx2.options(
        f"http://{tiny}/v1/chat/completions",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.headers.get("access-control-allow-origin") not in {"*", "https://elsewhere.example"}


def test_it_is_not_started_twice(tiny: str, module_data: Path) -> None:
    with pytest.raises(LocalModelError, match="already running"):
        LocalModel(module_data / "local").start(free_port())


def test_its_server_offers_no_page(tiny: str) -> None:
    with contextlib.closing(httpx2.Client()) as client:
        assert client.get(f"http://{tiny}/").status_code == 404
