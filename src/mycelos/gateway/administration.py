"""A person's changes to agents, models and chats: each is on record before it is done, and its outcome after.

Web forms and the API both come through here, so that no change has a way around the ledger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from mycelos.gateway.identity.principal import OWNER
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.store.records import Agent, Chat, Model, ModelFormat
from mycelos.gateway.store.store import Store
from mycelos.ledger.events import Event
from mycelos.wire.egress import CredentialSummary
from mycelos.wire.problems import ProblemCode, Refusal

Answer = TypeVar("Answer")


class Administration:
    """Changes with their entries."""

    def __init__(
        self, store: Store, recorder: Recorder, credentials: Callable[[], Awaitable[Sequence[CredentialSummary]]]
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._credentials = credentials

    async def create_agent(
        self, name: str, instructions: str, capabilities: tuple[str, ...], model: str | None
    ) -> Agent:
        """Add an agent.

        Raises:
            Refusal: `conflict`, the name is taken; `not_found`, there is no such model.
        """
        await self._known_model(model)
        details = {"name": name, "capabilities": list(capabilities), "model": model or ""}

        async def act() -> Agent:
            if await self._store.agents.find(name) is not None:
                _taken("agent", name)
            return await self._store.agents.create(name, instructions, capabilities, model)

        return await self._recorded(Event.AGENT_CREATED, name, details, act)

    async def change_agent(
        self,
        name: str,
        *,
        instructions: str | None = None,
        capabilities: tuple[str, ...] | None = None,
        model: str | None = None,
    ) -> Agent:
        """Change what is given; None leaves a field as it is, an empty model means the default one."""
        agent = await self.agent(name)
        changed = replace(
            agent,
            instructions=agent.instructions if instructions is None else instructions,
            capabilities=agent.capabilities if capabilities is None else capabilities,
            model=agent.model if model is None else (model or None),
        )
        await self._known_model(changed.model)
        fields = ("instructions", "capabilities", "model")
        details = {
            "name": name,
            "agent_id": agent.id,
            "capabilities": list(changed.capabilities),
            "changed": [field for field in fields if getattr(agent, field) != getattr(changed, field)],
        }

        async def act() -> Agent:
            return await self._store.agents.change(changed) or _missing("agent")

        return await self._recorded(Event.AGENT_CHANGED, name, details, act)

    async def grant(self, name: str, capability: str) -> Agent:
        """Add one capability; the list stays sorted and without doubles."""
        agent = await self.agent(name)
        return await self.change_agent(name, capabilities=tuple(sorted({*agent.capabilities, capability})))

    async def remove(self, name: str, capability: str) -> Agent:
        """Take one capability away."""
        agent = await self.agent(name)
        return await self.change_agent(
            name, capabilities=tuple(kept for kept in agent.capabilities if kept != capability)
        )

    async def delete_agent(self, name: str) -> None:
        """Remove an agent; its chats stay readable."""
        agent = await self.agent(name)
        await self._recorded(
            Event.AGENT_DELETED, name, {"name": name, "agent_id": agent.id}, lambda: self._store.agents.delete(name)
        )

    async def create_model(
        self, name: str, model_format: ModelFormat, base_url: str, model: str, credential: str | None
    ) -> Model:
        """Add a model endpoint.

        Raises:
            Refusal: `conflict`, the name is taken; `credential_unknown`, the vault has no such credential.
        """
        await self._known_credential(credential)
        details = {
            "name": name,
            "form": model_format,
            "model": model,
            "service": credential or "",
            "changed": ["added"],
        }

        async def act() -> Model:
            if await self._store.models.find(name) is not None:
                _taken("model", name)
            return await self._store.models.create(name, model_format, base_url, model, credential)

        return await self._recorded(Event.MODEL_CHANGED, name, details, act)

    async def delete_model(self, name: str) -> None:
        """Remove a model endpoint."""
        if await self._store.models.find(name) is None:
            _missing("model")
        await self._recorded(
            Event.MODEL_CHANGED,
            name,
            {"name": name, "changed": ["removed"]},
            lambda: self._store.models.delete(name),
        )

    async def create_chat(self, agent: str, title: str = "") -> Chat:
        """Open a chat with an agent that exists."""
        found = await self.agent(agent)
        return await self._recorded(
            Event.CHAT_CREATED, "", {"agent_id": found.id}, lambda: self._store.chats.create(agent, title)
        )

    async def delete_chat(self, chat_id: str) -> None:
        """Remove a chat with all that belongs to it."""
        if await self._store.chats.find(chat_id) is None:
            _missing("chat")
        await self._recorded(
            Event.CHAT_DELETED, chat_id, {"chat_id": chat_id}, lambda: self._store.chats.delete(chat_id)
        )

    async def agent(self, name: str) -> Agent:
        """The agent of this name.

        Raises:
            Refusal: `not_found`.
        """
        return await self._store.agents.find(name) or _missing("agent")

    async def _known_model(self, name: str | None) -> None:
        if name and await self._store.models.find(name) is None:
            _missing("model")

    async def _known_credential(self, service: str | None) -> None:
        if service is not None and service not in {found.service for found in await self._credentials()}:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"The vault has no credential {service}",
                f"Store it first: mycelos credential add {service}; mycelos credential list shows those that exist.",
            )

    async def _recorded(
        self, event: Event, subject: str, details: dict[str, Any], act: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Record the intent, act, record the outcome. Without a durable intent nothing is done."""
        intent = await self._recorder.intent(event, principal=OWNER, subject=subject, details=details)
        try:
            answer = await act()
        except Refusal as refusal:
            code = refusal.problem.code.value
            await self._recorder.outcome(event, intent, principal=OWNER, subject=subject, outcome="failed", reason=code)
            raise
        await self._recorder.outcome(event, intent, principal=OWNER, subject=subject, outcome="ok")
        return answer


def _taken(kind: str, name: str) -> NoReturn:
    raise Refusal(
        ProblemCode.CONFLICT,
        f"The name {name} is taken: there is {'an' if kind == 'agent' else 'a'} {kind} of this name",
        f"Choose another name, or remove that one first: mycelos {kind} remove {name}",
    )


def _missing(kind: str) -> Any:
    detail = f"There is no {kind} of this name." if kind != "chat" else "There is no such chat."
    raise Refusal(ProblemCode.NOT_FOUND, detail, f"GET /api/{kind}s lists those that exist.")
