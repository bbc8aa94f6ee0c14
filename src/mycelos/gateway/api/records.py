"""`/api/credentials/list`, `/api/audit/events` and `/api/status`: what can be read and not changed here."""

from __future__ import annotations

import platform
import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from mycelos import __version__
from mycelos.gateway.api.schemas import CredentialView, Status
from mycelos.gateway.services import Services
from mycelos.ledger.query import MOST_ENTRIES, EventQuery, check_keys, read_since, read_source

_Text = Annotated[str | None, Query(max_length=512)]


def record_routes(services: Services) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", tags=["records"])

    @router.get("/credentials/list")
    async def list_credentials() -> list[CredentialView]:
        """The stored credentials: service, label and time of storing, and nothing else."""
        return [
            CredentialView(service=found.service, label=found.label, created_at=found.created_at)
            for found in await services.proxy.credentials()
        ]

    @router.get("/audit/events")
    async def list_events(
        request: Request,
        *,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100,
        after: Annotated[int | None, Query(ge=-1)] = None,
        before: Annotated[int | None, Query(ge=0)] = None,
        suspicious: bool = False,
        outside: bool = False,
        since: Annotated[str | None, Query(max_length=40)] = None,
        event: _Text = None,
        agent: _Text = None,
        run: _Text = None,
        outcome: _Text = None,
        host: _Text = None,
        source: _Text = None,
    ) -> list[dict[str, Any]]:
        """Entries of the ledger: the first after a place, else the newest. ``outside`` means what left the machine."""
        check_keys((key for key, _ in request.query_params.multi_items()), EventQuery.__struct_fields__)
        wanted: dict[str, Any] = {
            "after": after,
            "before": before,
            "since": None if since is None else read_since(since, datetime.now(UTC)),
            "event": event,
            "agent": agent,
            "run": run,
            "outcome": outcome,
            "host": host,
            "source": None if source is None else read_source(source),
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return await services.proxy.audit_events(limit=limit, suspicious=suspicious, outside=outside, **given)

    @router.get("/status")
    async def show_status() -> Status:
        """How the gateway is: its mode, the walls around it, its versions, and whether it reaches the proxy."""
        return Status(
            version=__version__,
            python=platform.python_version(),
            sqlite=sqlite3.sqlite_version,
            kernel=platform.release(),
            mode=services.settings.mode,
            walls=list(services.settings.walls),
            missing_walls=list(services.settings.missing_walls),
            proxy="ok" if await services.proxy.health() else "unavailable",
            ledger_alarm=services.proxy.ledger_alarm,
            locked_down=services.lockdown.state.locked,
            agents=len(await services.store.agents.all()),
            models=len(await services.store.models.all()),
            open_runs=sum(run.is_open for run in await services.store.runs.all()),
        )

    return router
