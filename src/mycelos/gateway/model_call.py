"""One request to a model and its answer, put together from pieces; for every provider's format alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mycelos.gateway.runs.approval_wait import Wait, wait_for_nobody
from mycelos.wire.conversation import AssistantMessage, ToolUse
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from mycelos.gateway.store.records import Model
    from mycelos.gateway.tools.registry import Registry
    from mycelos.wire.conversation import Message, ToolDefinition

PLACEHOLDER_KEY: Final = "injected-by-the-proxy"
"""What an SDK is given as a key; the transport takes it off again."""


@dataclass(frozen=True)
class ModelCall:
    """One request to a model. ``on_text`` gets each piece of text as it comes; ``wait`` is through which it goes."""

    model: Model
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    run_id: str
    agent: str
    answer_characters: int
    on_text: Callable[[str], Awaitable[None]]
    wait: Wait = wait_for_nobody


class Format(Protocol):
    """One provider's wire format."""

    async def ask(self, call: ModelCall, endpoint: Endpoint, answer: AnswerBuilder) -> None:
        """Stream the model's answer into ``answer``.

        Raises:
            Refusal: what the proxy or the provider refused.
        """


@dataclass(frozen=True)
class Endpoint:
    """Where an SDK sends: the proxy's `/forward`, with the headers that the proxy reads and removes."""

    base_url: str
    headers: dict[str, str]
    client: httpx2.AsyncClient


class AnswerBuilder:
    """Puts an answer together from pieces, within its size."""

    def __init__(self, call: ModelCall, registry: Registry) -> None:
        self._call = call
        self._registry = registry
        self._text: list[str] = []
        self._uses: dict[Any, _PartialUse] = {}
        self._characters = 0

    async def text(self, piece: str) -> None:
        """A piece of text."""
        if piece:
            self._count(piece)
            self._text.append(piece)
            await self._call.on_text(piece)

    def tool_use(self, key: Any, *, use_id: str = "", function: str = "", arguments: str = "") -> None:
        """A piece of a wish for a tool; pieces of one wish have one ``key``."""
        self._count(use_id + function + arguments)
        use = self._uses.setdefault(key, _PartialUse())
        use.id += use_id
        use.function += function
        use.arguments.append(arguments)

    def finish(self) -> AssistantMessage:
        """The whole answer. Arguments that are no JSON object become null: the broker refuses and records them."""
        uses = tuple(
            ToolUse(
                id=use.id or f"call_{number}",
                tool=self._registry.tool_of_function(use.function),
                args=_json_object("".join(use.arguments)),
            )
            for number, use in enumerate(self._uses.values())
        )
        return AssistantMessage(text="".join(self._text), tool_uses=uses)

    def _count(self, piece: str) -> None:
        self._characters += len(piece)
        if self._characters > self._call.answer_characters:
            raise Refusal(
                ProblemCode.TOO_LARGE,
                f"The model's answer is longer than {self._call.answer_characters} characters",
                "Ask for less at once, or raise runs.answer_characters in gateway.toml.",
            )


@dataclass
class _PartialUse:
    id: str = ""
    function: str = ""
    arguments: list[str] = field(default_factory=list)


def model_refusal(status: int) -> Refusal:
    """What a provider's own refusal means to a person."""
    if status in {401, 403}:
        next_step = "Check the credential that the model uses: mycelos credential list"
    elif status == 404:
        next_step = "Check the model's name and base URL: mycelos model list"
    else:
        next_step = "Try again later, or use another model."
    return Refusal(ProblemCode.MODEL_UNAVAILABLE, f"The model's endpoint answered with status {status}", next_step)


def model_not_understood() -> Refusal:
    """The provider's stream is not of its format."""
    return Refusal(
        ProblemCode.MODEL_UNAVAILABLE,
        "The model's endpoint broke off, or its answer is not of the expected format",
        "Check the model's format and base URL: mycelos model list",
    )


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
