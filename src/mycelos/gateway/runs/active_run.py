"""One run that goes on: who asked for what, with which agent and model, and its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mycelos.gateway.runs.time_limits import TimeLimits

if TYPE_CHECKING:
    from mycelos.gateway.runs.journal import Journal
    from mycelos.gateway.store.records import Agent, Model, Run
    from mycelos.wire.conversation import Message
    from mycelos.wire.runner import Limits


@dataclass(frozen=True)
class ActiveRun:
    """What the broker goes by. Nothing in it comes from a runner's frame."""

    run: Run
    agent: Agent
    model: Model
    messages: tuple[Message, ...]
    limits: Limits
    journal: Journal
    time: TimeLimits = field(default_factory=TimeLimits)
