"""A model endpoint that follows a script, in OpenAI's and in Anthropic's wire format, streaming or whole.

It remembers what was sent to it, so that a test can look for a secret there: `GET /seen`.
"""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mycelos.demo import anthropic_format, openai_format
from mycelos.demo.conversation import Conversation, read_anthropic, read_openai
from mycelos.demo.script import Fail, Flood, Hang, Say, Step, Use, fill_in, next_step, scenarios

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

_SECONDS_BETWEEN_PIECES: Final = 0.02
_FLOOD_PIECE: Final = "flood " * 1000
_REQUESTS_REMEMBERED: Final = 200


class ScriptedModel:
    """The endpoint's state: its script, and the requests that it has seen."""

    def __init__(self, thief_url: str) -> None:
        self._scenarios = scenarios(thief_url)
        self._seen: list[dict[str, Any]] = []

    def application(self) -> Starlette:
        """The endpoint as an ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._openai, methods=["POST"]),
                Route("/v1/messages", self._anthropic, methods=["POST"]),
                Route("/v1/models", _models),
                Route("/seen", self._tell_seen),
            ]
        )

    async def _openai(self, request: Request) -> Response:
        body = await self._remember(request)
        return self._answer(read_openai(body), openai_format, stream=bool(body.get("stream")))

    async def _anthropic(self, request: Request) -> Response:
        body = await self._remember(request)
        return self._answer(read_anthropic(body), anthropic_format, stream=bool(body.get("stream")))

    async def _remember(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self._seen.append({"path": request.url.path, "headers": dict(request.headers), "body": body})
        del self._seen[:-_REQUESTS_REMEMBERED]
        return body

    async def _tell_seen(self, _request: Request) -> Response:
        return JSONResponse(self._seen)

    def _answer(self, conversation: Conversation, form: ModuleType, *, stream: bool) -> Response:
        step = next_step(self._scenarios, conversation.person, len(conversation.results))
        if isinstance(step, Fail):
            return JSONResponse({"error": {"message": "scripted failure", "type": "server_error"}}, step.status)
        if stream:
            return StreamingResponse(_stream(step, conversation, form), media_type="text/event-stream")
        if isinstance(step, Use):
            return JSONResponse(form.tool_body(*_wish(step, conversation)))
        return JSONResponse(form.text_body("".join(_pieces(step, conversation))))


async def _stream(step: Step, conversation: Conversation, form: ModuleType) -> AsyncIterator[bytes]:
    if isinstance(step, Use):
        for event in form.tool_events(*_wish(step, conversation)):
            yield event
    else:
        pause = 0 if isinstance(step, Flood) else _SECONDS_BETWEEN_PIECES
        for event in form.text_events(_pieces(step, conversation)):
            yield event
            await asyncio.sleep(pause)
    if isinstance(step, Hang):
        # The peer ends this by closing its connection.
        await asyncio.Event().wait()
    for event in form.end_events(wishes_for_tool=isinstance(step, Use)):
        yield event


def _wish(step: Use, conversation: Conversation) -> tuple[str, str]:
    arguments = step.raw_arguments if step.raw_arguments is not None else json.dumps(step.arguments)
    return conversation.provider_name(step.tool), arguments


def _pieces(step: Step, conversation: Conversation) -> list[str]:
    if isinstance(step, Flood):
        return [_FLOOD_PIECE] * (step.characters // len(_FLOOD_PIECE))
    text = step.text if isinstance(step, Say | Hang) else ""
    words = fill_in(text, conversation.results[-1] if conversation.results else "").split(" ")
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]


async def _models(_request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "mycelos"}]})
