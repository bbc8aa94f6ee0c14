"""What the routes take and give, as strict models: an unknown field is refused, no value is converted.

No model here has a field for a secret, and the address of a model endpoint may hold none.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mycelos.gateway.middleware.problems import FieldError
from mycelos.gateway.store.records import Agent, Chat, Model, Run, StoredMessage
from mycelos.policy.capabilities import check_capability
from mycelos.wire.secret_check import MESSAGE_LIMIT

MAXIMUM_CAPABILITIES: int = 64


def _plain_address(text: str) -> str:
    message = "an address is http:// or https:// with a host, without a user name, query, fragment or space"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise FieldError(message) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise FieldError(message)
    # User names, queries and fragments are where keys hide in addresses.
    if parts.username is not None or parts.query or parts.fragment or any(ord(letter) < 33 for letter in text):
        raise FieldError(message)
    return text.rstrip("/")


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Capability = Annotated[str, AfterValidator(check_capability)]
Service = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Address = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_plain_address)]
MessageText = Annotated[str, StringConstraints(min_length=1, max_length=MESSAGE_LIMIT)]
Instructions = Annotated[str, StringConstraints(max_length=8000)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewChat(Body):
    """Open a chat."""

    agent: Name = "assistant"
    title: Annotated[str, StringConstraints(max_length=200)] = ""


class NewMessage(Body):
    """Say something in a chat; the chat's agent answers, with its own model unless one is named."""

    text: MessageText
    model: Name | None = None


class NewAgent(Body):
    """Add an agent."""

    name: Name
    instructions: Instructions = ""
    capabilities: Annotated[list[Capability], Field(max_length=MAXIMUM_CAPABILITIES)] = []
    model: Name | None = None


class AgentChange(Body):
    """Change an agent; what is absent stays. An empty ``model`` means the default one."""

    instructions: Instructions | None = None
    capabilities: Annotated[list[Capability], Field(max_length=MAXIMUM_CAPABILITIES)] | None = None
    model: Name | Literal[""] | None = None


class NewModel(Body):
    """Add a model endpoint. ``credential`` is the name of a service in the vault, never a key."""

    name: Name
    format: Literal["openai", "anthropic"]
    base_url: Address
    model: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]
    credential: Service | None = None


class Answer(BaseModel):
    """A route's answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CredentialView(Answer):
    """All that the gateway tells of a credential."""

    service: str
    label: str
    created_at: str


class ChatView(Answer):
    """A chat."""

    id: str
    title: str
    agent: str
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, chat: Chat) -> ChatView:
        """The view of a stored chat."""
        return cls(
            id=chat.id, title=chat.title, agent=chat.agent, created_at=chat.created_at, updated_at=chat.updated_at
        )


class MessageView(Answer):
    """A message of a chat."""

    id: str
    run_id: str | None
    role: Literal["user", "assistant"]
    text: str
    created_at: str

    @classmethod
    def of(cls, message: StoredMessage) -> MessageView:
        """The view of a stored message."""
        return cls(
            id=message.id, run_id=message.run_id, role=message.role, text=message.text, created_at=message.created_at
        )


class RunView(Answer):
    """A run; ``code`` and ``detail`` say how it ended."""

    id: str
    chat_id: str
    agent: str
    model: str | None
    state: str
    code: str
    detail: str
    created_at: str
    finished_at: str | None

    @classmethod
    def of(cls, run: Run) -> RunView:
        """The view of a stored run."""
        return cls(
            id=run.id,
            chat_id=run.chat_id,
            agent=run.agent,
            model=run.model,
            state=run.state.value,
            code=run.code,
            detail=run.detail,
            created_at=run.created_at,
            finished_at=run.finished_at,
        )


class AgentView(Answer):
    """An agent."""

    name: str
    instructions: str
    capabilities: list[str]
    model: str | None
    created_at: str

    @classmethod
    def of(cls, agent: Agent) -> AgentView:
        """The view of a stored agent."""
        return cls(
            name=agent.name,
            instructions=agent.instructions,
            capabilities=list(agent.capabilities),
            model=agent.model,
            created_at=agent.created_at,
        )


class ModelView(Answer):
    """A model endpoint."""

    name: str
    format: str
    base_url: str
    model: str
    credential: str | None
    created_at: str

    @classmethod
    def of(cls, model: Model) -> ModelView:
        """The view of a stored endpoint."""
        return cls(
            name=model.name,
            format=model.format,
            base_url=model.base_url,
            model=model.model,
            credential=model.credential,
            created_at=model.created_at,
        )


class StartedRun(Answer):
    """A message was taken; its run can be followed at ``/api/runs/{run_id}/events``."""

    run_id: str


class Cancelled(Answer):
    """Whether the run was open."""

    cancelled: bool


class Link(Answer):
    """The secret of a one-time link to `/login?code=`. Where the page is, the command line knows by itself."""

    code: str
    expires_at: str


class Session(Answer):
    """Who a request counts as."""

    principal: str
    sign_in: Literal["session", "basic", "command_line"]


class EndedAll(Answer):
    """How many sessions and runs have ended. Unused links are over too."""

    sessions: int
    runs: int


class Tested(Answer):
    """What a model endpoint answered to a test."""

    answer: str


class Status(Answer):
    """How the gateway is."""

    version: str
    python: str
    sqlite: str
    kernel: str
    mode: Literal["host", "containers"]
    walls: list[str]
    missing_walls: list[str]
    proxy: Literal["ok", "unavailable"]
    ledger_alarm: str | None
    locked_down: bool
    agents: int
    models: int
    open_runs: int
