"""`/api/chats`: conversations and what is said in them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import ChatView, MessageView, NewChat, NewMessage, StartedRun
from mycelos.gateway.services import Services
from mycelos.gateway.store.records import Chat
from mycelos.wire.problems import ProblemCode, Refusal


def chat_routes(services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/chats", tags=["chats"])

    async def find(chat_id: str) -> Chat:
        chat = await services.store.chats.find(chat_id)
        if chat is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no such chat.", "GET /api/chats lists those that exist.")
        return chat

    @router.get("")
    async def list_chats() -> list[ChatView]:
        """The chats, the one used last first."""
        return [ChatView.of(chat) for chat in await services.store.chats.all()]

    @router.post("", status_code=201)
    async def create_chat(body: NewChat) -> ChatView:
        """Open a chat with an agent."""
        return ChatView.of(await administration.create_chat(body.agent, body.title))

    @router.get("/{chat_id}")
    async def show_chat(chat_id: str) -> ChatView:
        """One chat."""
        return ChatView.of(await find(chat_id))

    @router.delete("/{chat_id}", status_code=204)
    async def delete_chat(chat_id: str) -> Response:
        """Remove a chat with its messages and runs."""
        await administration.delete_chat(chat_id)
        return Response(status_code=204)

    @router.get("/{chat_id}/messages")
    async def list_messages(chat_id: str) -> list[MessageView]:
        """What was said, oldest first."""
        await find(chat_id)
        return [MessageView.of(message) for message in await services.store.chats.messages(chat_id)]

    @router.post("/{chat_id}/messages", status_code=202)
    async def say(chat_id: str, body: NewMessage) -> StartedRun:
        """Say something; the answer comes as events of the run that this starts."""
        chat = await find(chat_id)
        return StartedRun(run_id=await services.runs.start(chat.id, body.text, chat.agent, body.model))

    return router
