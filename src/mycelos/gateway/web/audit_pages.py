"""`/audit`: what happened, what left the machine, what looks wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mycelos.gateway.services import Services
from mycelos.gateway.web.audit_view import lines_of
from mycelos.gateway.web.rendering import Pages
from mycelos.ledger.query import MOST_ENTRIES


def audit_routes(pages: Pages, services: Services) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/audit")
    async def show(
        request: Request,
        show: Literal["all", "outside", "suspicious"] = "all",
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 200,
    ) -> Response:
        entries = await services.proxy.audit_events(limit=limit, suspicious=show == "suspicious")
        return pages.respond(
            request,
            "audit.html",
            show=show,
            days=lines_of(entries, outside_only=show == "outside"),
            more=min(limit * 5, MOST_ENTRIES) if len(entries) == limit < MOST_ENTRIES else None,
        )

    return router
