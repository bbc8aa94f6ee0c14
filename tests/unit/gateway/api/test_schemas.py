from __future__ import annotations

import pytest
from pydantic import ValidationError

from mycelos.gateway.api.schemas import (
    AgentChange,
    AgentView,
    ChatView,
    MessageView,
    ModelView,
    NewAgent,
    NewModel,
    RunView,
)
from mycelos.gateway.store.records import Agent, Chat, Model, Run, RunState, StoredMessage

AT = "2026-01-01T00:00:00.000000Z"


def test_nothing_is_converted() -> None:
    for values in ({"name": 5}, {"name": "a", "capabilities": "github"}, {"name": "a", "capabilities": {"github": 1}}):
        with pytest.raises(ValidationError):
            NewAgent.model_validate(values)


def test_lists_are_bounded() -> None:
    with pytest.raises(ValidationError):
        AgentChange.model_validate({"capabilities": [f"a.b{number}" for number in range(65)]})


@pytest.mark.parametrize("model", ["", "with space", "new\nline", "x" * 257, "\u00fc"])
def test_a_providers_model_name_is_plain(model: str) -> None:
    with pytest.raises(ValidationError):
        NewModel.model_validate({"name": "a", "format": "openai", "base_url": "https://a.example", "model": model})


def test_views_show_what_is_stored() -> None:
    assert ChatView.of(Chat("chat_1", "t", "assistant", AT, AT)).title == "t"
    assert MessageView.of(StoredMessage("msg_1", "chat_1", None, "user", "hi", AT)).text == "hi"
    run = Run("run_1", "chat_1", "assistant", None, RunState.FAILED, "code", "detail", AT, AT)
    assert RunView.of(run).state == "failed"
    assert AgentView.of(Agent("agent_1", "a", "i", ("x.y",), None, AT, AT)).capabilities == ["x.y"]
    shown = ModelView.of(Model("model_1", "m", "openai", "https://a.example", "small", "openai", AT))
    assert (shown.format, shown.credential) == ("openai", "openai")
