"""Asking a model: the provider's format is chosen by the endpoint's entry; everything goes through the proxy.

No provider's key is ever here: the SDKs are given a fixed placeholder, the transport takes it off again, and the
proxy injects the stored credential.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from mycelos.gateway.model_call import AnswerBuilder, Endpoint, Format, ModelCall
from mycelos.gateway.proxy_client.transport import PROXY_ORIGIN
from mycelos.wire.egress import FORWARD_AGENT, FORWARD_APPROVAL, FORWARD_CREDENTIAL, FORWARD_PURPOSE, FORWARD_RUN
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.gateway.lockdown import LockdownWatch
    from mycelos.gateway.tools.registry import Registry
    from mycelos.wire.conversation import AssistantMessage

MODEL_SECONDS: Final = 300.0
"""One whole answer takes this long at most."""

_SILENCE_SECONDS: Final = 120.0
# What a stream that the proxy cut looks like from here.
_CUT: Final = frozenset({ProblemCode.MODEL_UNAVAILABLE, ProblemCode.PROXY_UNAVAILABLE})
PURPOSE: Final = "model.request"
"""What the proxy and a person are told that the request is for."""


class ModelClient:
    """Asks models. The SDKs are imported when the first request needs them, in a thread."""

    def __init__(
        self, transport: httpx2.AsyncBaseTransport, registry: Registry, lockdown: LockdownWatch | None = None
    ) -> None:
        self._registry = registry
        self._lockdown = lockdown
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=20.0, pool=20.0)
        self._client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)

    async def ask(self, call: ModelCall) -> AssistantMessage:
        """One answer.

        Raises:
            Refusal: `too_large`, `model_unavailable`, `upstream_timeout`, or what the proxy refused.
        """
        form = await asyncio.to_thread(_load, call.model.format)
        return await call.wait(lambda approval: self._ask(call, form, approval))

    async def _ask(self, call: ModelCall, form: Format, approval: str | None) -> AssistantMessage:
        endpoint = Endpoint(forward_url(call.model.base_url), _headers(call, approval), self._client)
        answer = AnswerBuilder(call, self._registry)
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                await form.ask(call, endpoint, answer)
        except Refusal as refusal:
            if self._lockdown is not None and refusal.problem.code in _CUT:
                await self._lockdown.refuse()
            raise
        except TimeoutError:
            raise Refusal(
                ProblemCode.UPSTREAM_TIMEOUT, "The model did not finish its answer in time", "Ask for less, or again."
            ) from None
        return answer.finish()


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


def _headers(call: ModelCall, approval: str | None) -> dict[str, str]:
    headers = {FORWARD_RUN: call.run_id, FORWARD_AGENT: call.agent, FORWARD_PURPOSE: PURPOSE}
    if call.model.credential is not None:
        headers[FORWARD_CREDENTIAL] = call.model.credential
    if approval is not None:
        headers[FORWARD_APPROVAL] = approval
    return headers


def _load(name: str) -> Format:
    # Each SDK takes about a second to import and tens of megabytes: only a run that needs one pays.
    if name == "anthropic":
        from mycelos.gateway.models_anthropic import AnthropicFormat  # noqa: PLC0415

        return AnthropicFormat()
    from mycelos.gateway.models_openai import OpenAIFormat  # noqa: PLC0415

    return OpenAIFormat()
