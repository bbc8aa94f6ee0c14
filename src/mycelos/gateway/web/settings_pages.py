"""`/settings`: this installation in facts, and its model endpoints."""

from __future__ import annotations

import platform
import sqlite3
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mycelos import __version__
from mycelos.gateway.administration import Administration
from mycelos.gateway.api.schemas import NewModel
from mycelos.gateway.services import Services
from mycelos.gateway.web.forms import as_body, read_form
from mycelos.gateway.web.rendering import Pages
from mycelos.wire.egress import CredentialSummary

_MODES: Final = {
    "host": "host: processes of this machine, confined by its kernel; no containers",
    "containers": "containers: proxy and gateway each in one of its own",
}


def settings_routes(pages: Pages, services: Services, administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    settings = services.settings

    @router.get("/settings")
    async def show(request: Request) -> Response:
        is_reachable = await services.proxy.health()
        credentials: list[CredentialSummary] = await services.proxy.credentials() if is_reachable else []
        facts = [
            ("Version", f"Mycelos {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"),
            ("Mode", _MODES[settings.mode]),
            ("Kernel", platform.release()),
            ("Walls around this gateway", ", ".join(settings.walls) or "none"),
            ("Walls that are missing", ", ".join(settings.missing_walls) or "none"),
            ("Proxy", "answers" if is_reachable else "does not answer; see mycelos status"),
            ("Egress", "locked down; see mycelos lockdown" if services.lockdown.state.locked else "not locked down"),
            ("Ledger", services.proxy.ledger_alarm or "grew with each receipt"),
            ("Address", f"{settings.bind}, port {settings.port}"),
            ("Public address", settings.public_url or "none"),
            ("Vault page", settings.operator_url),
            ("Password sign-in", "on" if settings.password_hash else "off; one-time links only"),
        ]
        return pages.respond(
            request,
            "settings.html",
            facts=facts,
            models=await services.store.models.all(),
            credentials=credentials,
        )

    @router.post("/settings/models")
    async def add_model(request: Request) -> Response:
        form = await read_form(request, "name", "format", "model", "base_url", "credential")
        wanted = as_body(NewModel, {**form, "credential": form["credential"] or None})
        await administration.create_model(wanted.name, wanted.format, wanted.base_url, wanted.model, wanted.credential)
        return RedirectResponse("/settings", 303)

    @router.post("/settings/models/{name}/delete")
    async def remove_model(request: Request, name: str) -> Response:
        await read_form(request)
        await administration.delete_model(name)
        return RedirectResponse("/settings", 303)

    return router
