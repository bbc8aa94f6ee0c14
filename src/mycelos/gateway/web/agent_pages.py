"""`/agents`: what each agent may do, in plain words, with granting and taking away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import AgentChange, NewAgent
from mycelos.gateway.services import Services
from mycelos.gateway.web.forms import as_body, read_form
from mycelos.gateway.web.rendering import Pages
from mycelos.policy.capabilities import grants


def agent_routes(pages: Pages, services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/agents")
    async def show(request: Request) -> Response:
        names = sorted(services.registry.names)
        return pages.respond(
            request,
            "agents.html",
            agents=await services.store.agents.all(),
            tools=services.registry.definitions(names),
            suggestions=suggestions(names),
            in_words=lambda capability: in_words(capability, names),
        )

    @router.post("/agents")
    async def create(request: Request) -> Response:
        form = await read_form(request, "name", "instructions")
        agent = as_body(NewAgent, form)
        await administration.create_agent(agent.name, agent.instructions, (), None)
        return RedirectResponse("/agents", 303)

    @router.post("/agents/{name}/grant")
    async def grant(request: Request, name: str) -> Response:
        form = await read_form(request, "capability")
        wanted = as_body(AgentChange, {"capabilities": [form["capability"].strip()]})
        await administration.grant(name, (wanted.capabilities or [""])[0])
        return RedirectResponse("/agents", 303)

    @router.post("/agents/{name}/remove")
    async def remove(request: Request, name: str) -> Response:
        form = await read_form(request, "capability")
        await administration.remove(name, form["capability"])
        return RedirectResponse("/agents", 303)

    @router.post("/agents/{name}/delete")
    async def delete(request: Request, name: str) -> Response:
        await read_form(request)
        await administration.delete_agent(name)
        return RedirectResponse("/agents", 303)

    return router


def in_words(capability: str, tools: Sequence[str]) -> str:
    """What a capability lets an agent use, of the tools that exist here."""
    covered = [tool for tool in tools if grants(capability, tool)]
    if not covered:
        return "no tool of this name exists here yet"
    if covered == [capability]:
        return "exactly this tool"
    return f"every tool below it; now: {', '.join(covered)}"


def suggestions(tools: Iterable[str]) -> list[str]:
    """The tools' names and each beginning of them of two segments or more, sorted."""
    found: set[str] = set()
    for tool in tools:
        parts = tool.split(".")
        found.update(".".join(parts[:length]) for length in range(2, len(parts) + 1))
    return sorted(found)
