"""`/connections`: the stored credentials by their metadata, and the way to the vault page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from mycelos.gateway.services import Services
from mycelos.gateway.web.rendering import Pages


def connection_routes(pages: Pages, services: Services) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/connections")
    async def show(request: Request) -> Response:
        return pages.respond(
            request,
            "connections.html",
            credentials=await services.proxy.credentials(),
            vault_url=services.settings.operator_url,
        )

    return router
