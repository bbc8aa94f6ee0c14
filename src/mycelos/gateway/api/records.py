"""`/api/credentials/list`, `/api/audit/events` and `/api/status`: what can be read and not changed here."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from inspect import Parameter, Signature
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request

from mycelos import __version__
from mycelos.gateway.api.schemas import CredentialView, Status
from mycelos.gateway.services import Services
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.query import MOST_ENTRIES, EventQuery, check_keys, read_since, read_source

_PARAMETERS: Final[Mapping[Any, Any]] = {
    bool: bool,
    int | None: Annotated[int | None, Query(ge=0)],
    str | None: Annotated[str | None, Query(max_length=512)],
}
"""What a field of a filter is in an address, by its type."""


def _filter_fields(**given: Any) -> dict[str, Any]:
    return given


# FastAPI reads the query, and describes it, by this signature.
_filter_fields.__signature__ = Signature(  # type: ignore[attr-defined]  # that of PEP 362
    [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=_PARAMETERS[field.type])
        for field in msgspec.structs.fields(Filter)
    ]
)


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
        narrowed: Annotated[dict[str, Any], Depends(_filter_fields)],
        *,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100,
        after: Annotated[int | None, Query(ge=-1)] = None,
    ) -> list[dict[str, Any]]:
        """Entries of the ledger: the first after a place, else the newest. ``outside`` means what left the machine."""
        check_keys((key for key, _ in request.query_params.multi_items()), EventQuery.__struct_fields__)
        if (since := narrowed.get("since")) is not None:
            narrowed["since"] = read_since(since, datetime.now(UTC))
        if (source := narrowed.get("source")) is not None:
            read_source(source)
        given = {name: value for name, value in {"after": after, **narrowed}.items() if value is not None}
        return await services.proxy.audit_events(limit=limit, **given)

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
