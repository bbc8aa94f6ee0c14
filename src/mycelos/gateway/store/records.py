"""Rows as frozen values. Times are RFC 3339, UTC, microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

ModelFormat = Literal["openai", "anthropic"]
Role = Literal["user", "assistant"]


class RunState(StrEnum):
    """Where a run stands; the first two are open."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = (RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True)
class Agent:
    """An agent: what it is told, what it may do, and the model it asks (None: the only or first model)."""

    id: str
    name: str
    instructions: str
    capabilities: tuple[str, ...]
    model: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class Model:
    """A model endpoint. ``credential`` is the service whose secret the proxy injects, or None for an open one."""

    id: str
    name: str
    format: ModelFormat
    base_url: str
    model: str
    credential: str | None
    created_at: str


@dataclass(frozen=True)
class Chat:
    """One conversation with one agent."""

    id: str
    title: str
    agent: str
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class StoredMessage:
    """A message as the person sees it; ``run_id`` is the run that it started or that wrote it."""

    id: str
    chat_id: str
    run_id: str | None
    role: Role
    text: str
    created_at: str


@dataclass(frozen=True)
class Run:
    """One run of an agent. ``code`` and ``detail`` say how it ended; both are empty while it is open."""

    id: str
    chat_id: str
    agent: str
    model: str | None
    state: RunState
    code: str
    detail: str
    created_at: str
    finished_at: str | None

    @property
    def is_open(self) -> bool:
        """Whether the run may still produce events."""
        return self.state in OPEN_STATES


@dataclass(frozen=True)
class JournalRow:
    """One row of a run's journal."""

    sequence: int
    kind: str
    data: dict[str, Any]
    at: str


@dataclass(frozen=True)
class Session:
    """A signed-in browser. ``digest`` is the SHA-256, in hex, of the cookie's value, which is not kept."""

    id: str
    digest: str
    principal: str
    method: str
    created_at: str
    expires_at: str
