"""`/api/agents`: agents and what they may do."""

from __future__ import annotations

from fastapi import APIRouter, Response

from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import AgentChange, AgentView, NewAgent
from mycelos.gateway.services import Services


def agent_routes(services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/agents", tags=["agents"])

    @router.get("")
    async def list_agents() -> list[AgentView]:
        """All agents by name."""
        return [AgentView.of(agent) for agent in await services.store.agents.all()]

    @router.post("", status_code=201)
    async def create_agent(body: NewAgent) -> AgentView:
        """Add an agent; without capabilities it may use no tool."""
        capabilities = tuple(sorted(set(body.capabilities)))
        return AgentView.of(await administration.create_agent(body.name, body.instructions, capabilities, body.model))

    @router.get("/{name}")
    async def show_agent(name: str) -> AgentView:
        """One agent."""
        return AgentView.of(await administration.agent(name))

    @router.patch("/{name}")
    async def change_agent(name: str, body: AgentChange) -> AgentView:
        """Change what is given."""
        capabilities = None if body.capabilities is None else tuple(sorted(set(body.capabilities)))
        return AgentView.of(
            await administration.change_agent(
                name, instructions=body.instructions, capabilities=capabilities, model=body.model
            )
        )

    @router.delete("/{name}", status_code=204)
    async def delete_agent(name: str) -> Response:
        """Remove an agent."""
        await administration.delete_agent(name)
        return Response(status_code=204)

    return router
