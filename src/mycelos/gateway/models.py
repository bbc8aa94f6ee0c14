"""Asking a model: the provider's format is chosen by the endpoint's entry; everything goes through the proxy.

No provider's key is ever here: the SDKs are given a fixed placeholder, the transport takes it off again, and the
proxy injects the stored credential.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import httpx2
import msgspec

from mycelos.gateway.proxy_client.transport import PROXY_ORIGIN
from mycelos.wire.conversation import AssistantMessage, ToolUse
from mycelos.wire.egress import FORWARD_AGENT, FORWARD_CREDENTIAL, FORWARD_PURPOSE, FORWARD_RUN
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.gateway.store.records import Model
    from mycelos.gateway.tools.registry import Registry
    from mycelos.wire.conversation import Message, ToolDefinition

PLACEHOLDER_KEY: Final = "injected-by-the-proxy"
MODEL_SECONDS: Final = 300.0
"""One whole answer takes this long at most."""

_SILENCE_SECONDS: Final = 120.0
_PURPOSE: Final = "model.request"


@dataclass(frozen=True)
class ModelCall:
    """One request to a model. ``on_text`` gets each piece of text as it comes."""

    model: Model
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    run_id: str
    agent: str
    answer_characters: int
    on_text: Callable[[str], Awaitable[None]]


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


class ModelClient:
    """Asks models. The SDKs are imported when the first request needs them, in a thread."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, registry: Registry) -> None:
        self._registry = registry
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=20.0, pool=20.0)
        self._client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)

    async def ask(self, call: ModelCall) -> AssistantMessage:
        """One answer.

        Raises:
            Refusal: `too_large`, `model_unavailable`, `upstream_timeout`, or what the proxy refused.
        """
        endpoint = Endpoint(forward_url(call.model.base_url), _headers(call), self._client)
        answer = AnswerBuilder(call, self._registry)
        form = await asyncio.to_thread(_load, call.model.format)
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                await form.ask(call, endpoint, answer)
        except TimeoutError:
            raise Refusal(
                ProblemCode.UPSTREAM_TIMEOUT, "The model did not finish its answer in time", "Ask for less, or again."
            ) from None
        return answer.finish()


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


def forward_url(base_url: str) -> str:
    """The proxy's streaming door for a provider's address.

    Raises:
        Refusal: `invalid_request`; it is no plain http or https address.
    """
    try:
        parts = urlsplit(base_url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _bad_base_url() from None
    if not is_usable or "@" in parts.netloc or "?" in base_url or "#" in base_url:
        raise _bad_base_url()
    return f"{PROXY_ORIGIN}/forward/{parts.scheme}/{parts.netloc}{parts.path.rstrip('/')}"


def _bad_base_url() -> Refusal:
    return Refusal(
        ProblemCode.INVALID_REQUEST,
        "The model's base URL is not of the form https://host[:port]/path",
        "Correct it: mycelos model add",
    )


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


def _headers(call: ModelCall) -> dict[str, str]:
    headers = {FORWARD_RUN: call.run_id, FORWARD_AGENT: call.agent, FORWARD_PURPOSE: _PURPOSE}
    if call.model.credential is not None:
        headers[FORWARD_CREDENTIAL] = call.model.credential
    return headers


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _load(name: str) -> Format:
    # Each SDK takes about a second to import and tens of megabytes: only a run that needs one pays.
    if name == "anthropic":
        from mycelos.gateway.models_anthropic import AnthropicFormat  # noqa: PLC0415

        return AnthropicFormat()
    from mycelos.gateway.models_openai import OpenAIFormat  # noqa: PLC0415

    return OpenAIFormat()
