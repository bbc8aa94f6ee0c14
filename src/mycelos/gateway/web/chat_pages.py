"""`/` and `/chat`: talking with an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import NewChat, NewMessage
from mycelos.gateway.runs.journal import stored_events
from mycelos.gateway.services import Services
from mycelos.gateway.store.records import Agent, Chat, Run
from mycelos.gateway.store.store import Store
from mycelos.gateway.web.forms import as_body, read_form
from mycelos.gateway.web.rendering import Pages
from mycelos.gateway.web.transcript import ToolBlock, Transcript, fold_events
from mycelos.wire.problems import ProblemCode, Refusal

_BLANK_CARD: Final = ToolBlock("", "", "")
_FIRST_AGENT: Final = "assistant"


@dataclass(frozen=True)
class Turn:
    """A question and the run that answers it; either may be missing."""

    question: str
    run: Run | None
    transcript: Transcript


def chat_routes(pages: Pages, services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    store = services.store

    @router.get("/")
    async def start() -> Response:
        return RedirectResponse("/chat", 303)

    @router.get("/chat")
    async def new_chat(request: Request) -> Response:
        return await _show(pages, services, request, None)

    @router.get("/chat/{chat_id}")
    async def show_chat(request: Request, chat_id: str) -> Response:
        return await _show(pages, services, request, await _find(store, chat_id))

    @router.post("/chat")
    async def begin(request: Request) -> Response:
        form = await read_form(request, "text", "agent", "model")
        message = as_body(NewMessage, {"text": form["text"].strip(), "model": form["model"] or None})
        wanted = as_body(NewChat, {"agent": form["agent"]})
        chat = await administration.create_chat(wanted.agent)
        await services.runs.start(chat.id, message.text, chat.agent, message.model)
        return RedirectResponse(f"/chat/{chat.id}", 303)

    @router.post("/chat/{chat_id}")
    async def say(request: Request, chat_id: str) -> Response:
        form = await read_form(request, "text", "model")
        message = as_body(NewMessage, {"text": form["text"].strip(), "model": form["model"] or None})
        chat = await _find(store, chat_id)
        await services.runs.start(chat.id, message.text, chat.agent, message.model)
        return RedirectResponse(f"/chat/{chat.id}", 303)

    @router.post("/chat/{chat_id}/cancel")
    async def cancel(request: Request, chat_id: str) -> Response:
        form = await read_form(request, "run")
        chat = await _find(store, chat_id)
        run = await store.runs.find(form["run"])
        if run is not None and run.chat_id == chat.id:
            await services.runs.cancel(run.id)
        return RedirectResponse(f"/chat/{chat.id}", 303)

    return router


def _agent(agents: list[Agent], name: str) -> Agent | None:
    return next((agent for agent in agents if agent.name == name), agents[0] if agents else None)


async def _find(store: Store, chat_id: str) -> Chat:
    chat = await store.chats.find(chat_id)
    if chat is None:
        raise Refusal(ProblemCode.NOT_FOUND, "There is no such chat.", "Choose one from the list of chats.")
    return chat


async def _turns(store: Store, chat: Chat) -> list[Turn]:
    runs = {run.id: run for run in await store.runs.all(chat.id)}
    turns = []
    for message in await store.chats.messages(chat.id):
        # What the agent answered stands in its run's journal, together with what it did.
        if message.role == "user":
            run = runs.get(message.run_id or "")
            events = stored_events(await store.runs.journal(run.id), 0) if run else []
            turns.append(Turn(message.text, run, fold_events(events)))
    return turns


async def _show(pages: Pages, services: Services, request: Request, chat: Chat | None) -> Response:
    store = services.store
    turns = await _turns(store, chat) if chat else []
    agents = await store.agents.all()
    live = next((turn.run for turn in turns if turn.run and turn.run.is_open), None)
    return pages.respond(
        request,
        "chat.html",
        chat=chat,
        chats=await store.chats.all(),
        turns=turns,
        live=live,
        agents=agents,
        agent=_agent(agents, chat.agent if chat else _FIRST_AGENT),
        models=await store.models.all(),
        blank_card=_BLANK_CARD,
        vault_url=services.settings.operator_url,
    )
