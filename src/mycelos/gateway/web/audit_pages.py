"""`/audit`: what happened, what left the machine, what looks wrong; one entry in full; all of it as a download."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from mycelos.gateway.identity.principal import require_principal
from mycelos.gateway.proxy_client import ProxyClient
from mycelos.gateway.proxy_client.head import Kept
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.services import Services
from mycelos.gateway.web.audit_counts import HEIGHT, WIDTH, chart_of
from mycelos.gateway.web.audit_entry import full_entry
from mycelos.gateway.web.audit_export import MEDIA_TYPE, export_lines
from mycelos.gateway.web.audit_filter import KEYS as FILTER_KEYS
from mycelos.gateway.web.audit_filter import SHOWS, AuditFilter, read_filter
from mycelos.gateway.web.audit_proof import prove_entry
from mycelos.gateway.web.audit_view import Line, line_of, lines_of
from mycelos.gateway.web.audit_walk import Walked, walk
from mycelos.gateway.web.forms import read_form
from mycelos.gateway.web.rendering import Pages
from mycelos.ledger.events import EVENTS_AND_AREAS, Event
from mycelos.ledger.query import SOURCES, check_keys
from mycelos.wire.audit import AuditSummary
from mycelos.wire.problems import ProblemCode, Refusal

PAGE: Final = 50
"""Entries on one page."""
SUSPICIOUS_FIRST: Final = 4
"""Suspicious entries that stand above everything else: so many that are known, and so many that are claimed. Who floods
the one kind does not push the other away."""

_Place = Annotated[int, Path(ge=0, lt=10**15)]
_STEPS: Final = 20
"""How often a walk over the whole ledger says how far it is."""
_MARK: Final = "<!-- walk -->"


def audit_routes(pages: Pages, services: Services, recorder: Recorder) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    proxy = services.proxy
    walks = asyncio.Semaphore(1)

    @router.get("/audit")
    async def show(request: Request) -> Response:
        check_keys((key for key, _ in request.query_params.multi_items()), FILTER_KEYS)
        wanted = read_filter(request.query_params)
        try:
            found = await _read(services, wanted)
        except Refusal as refusal:
            # What was typed stays in the form, with what is wrong with it; a proxy that is away is another matter.
            if refusal.problem.code is not ProblemCode.INVALID_REQUEST:
                raise
            found = {"problem": refusal.problem, "days": [], "older": None, "newer": None}
        status = 400 if found["problem"] else 200
        page = {"first": [], "summary": None, "chart": None, "kept": None, "key": None, **found}
        return pages.respond(
            request,
            "audit.html",
            status,
            wanted=wanted,
            shows=SHOWS,
            events=EVENTS_AND_AREAS,
            sources=SOURCES,
            alarm=proxy.ledger_alarm,
            bar_width=WIDTH,
            height=HEIGHT,
            **page,
        )

    @router.post("/audit/export")
    async def export(request: Request) -> Response:
        await read_form(request)
        # On record first; and it is the last entry of the export, so that this comes to an end on a busy ledger.
        receipt = await recorder.fact(
            Event.AUDIT_DOWNLOADED,
            principal=require_principal(request.scope).name,
            outcome="ok",
            details={"file_label": "page"},
        )
        # What was written with it in one go is signed with it.
        last = receipt.seq if receipt.checkpoint is None else Kept.read(receipt.checkpoint).size - 1
        lines = export_lines(proxy.audit_events, last, receipt.checkpoint)
        return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=_attached(f"mycelos-ledger-{last}.jsonl"))

    @router.get("/audit/verify")
    async def verify(request: Request) -> Response:
        page = pages.render(request, "audit_verify.html", alarm=proxy.ledger_alarm)
        return StreamingResponse(_walked(pages, request, proxy, walks, page), media_type="text/html")

    @router.get("/audit/{seq}")
    async def show_entry(request: Request, seq: _Place) -> Response:
        entry, *more = await _find(proxy, seq)
        return pages.respond(
            request,
            "audit_entry.html",
            line=line_of(entry),
            full=full_entry(entry),
            entry=entry,
            proof=await prove_entry(proxy, entry),
            is_last=not more,
            filter=AuditFilter(),
        )

    @router.get("/audit/{seq}/proof")
    async def download_proof(seq: _Place) -> Response:
        entry, *_ = await _find(proxy, seq)
        found = await prove_entry(proxy, entry)
        if found.proof is None:
            raise Refusal(ProblemCode.CONFLICT, found.reason, f"See how the entry stands: /audit/{seq}")
        return Response(
            bytes(found.proof), media_type="text/plain; charset=utf-8", headers=_attached(f"entry-{seq}.tlog-proof")
        )

    return router


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def _find(proxy: ProxyClient, seq: int) -> list[dict[str, Any]]:
    """The entry at ``seq``, and the one after it where there is one."""
    entries = await proxy.audit_events(after=seq - 1, limit=2)
    if not entries or entries[0]["seq"] != seq:
        raise Refusal(ProblemCode.NOT_FOUND, f"There is no entry {seq}.", "Go back to the time line: /audit")
    return entries


async def _walked(
    pages: Pages, request: Request, proxy: ProxyClient, walks: asyncio.Semaphore, page: str
) -> AsyncIterator[str]:
    """``page`` with what comes of walking the ledger in the place of its mark, as it comes."""
    before, _, after = page.partition(_MARK)
    yield before
    try:
        # One at a time: it is as much work as the gateway has.
        async with walks:
            kept = await proxy.remembered()
            newest = [] if kept is not None else await proxy.audit_events(limit=1)
            size = kept.size if kept is not None else newest[0]["seq"] + 1 if newest else 0
            told = -1
            async for found in walk(proxy.audit_events, kept, size):
                if isinstance(found, Walked):
                    step = found.entries * _STEPS // found.size
                    if step > told:
                        told = step
                        yield pages.render(request, "audit_step.html", walked=found)
                else:
                    yield pages.render(request, "audit_verdict.html", found=found, kept=kept, problem=None)
    except Refusal as refusal:
        yield pages.render(request, "audit_verdict.html", found=None, kept=None, problem=refusal.problem)
    yield after


async def _read(services: Services, wanted: AuditFilter) -> Mapping[str, Any]:
    """What the page shows, asked for at once."""
    now = datetime.now(UTC)
    proxy = services.proxy
    counts = wanted.summary_query(now)
    entries_asked = proxy.audit_events(**wanted.events_query(now, PAGE))
    entries, kept, signed, first, summary = await asyncio.gather(
        entries_asked,
        proxy.remembered(),
        proxy.newest_checkpoint(),
        _suspicious_first(proxy, wanted, now),
        _counts(proxy, wanted, counts),
    )
    days = lines_of(entries)
    places = [entry["seq"] for entry in entries]
    found: dict[str, Any] = {
        "problem": None,
        "kept": kept,
        "key": signed.key,
        "days": days,
        "older": min(places) if places and (len(entries) == PAGE or wanted.after is not None) else None,
        "newer": max(places, default=wanted.before) if not wanted.is_first_page else None,
    }
    if summary is not None:
        found |= {"summary": summary, "chart": chart_of(summary, now)}
    # In the suspicious view, what stands in the time line anyway is not told twice.
    told = set(places) if wanted.show == "suspicious" else set()
    return found | {"first": [line for line in first if line.seq not in told]}


async def _counts(proxy: ProxyClient, wanted: AuditFilter, query: Mapping[str, str]) -> AuditSummary | None:
    shown = wanted.is_first_page and wanted.show != "suspicious"
    return await proxy.audit_summary(**query) if shown else None


async def _suspicious_first(proxy: ProxyClient, wanted: AuditFilter, now: datetime) -> list[Line]:
    """The newest that are known, then the newest that are claimed; in the suspicious view only the known ones."""
    if not wanted.is_first_page or wanted.show == "outside":
        return []
    if wanted.show == "suspicious":
        if wanted.source:
            return []
        sources, query = ["known"], wanted.events_query(now, SUSPICIOUS_FIRST)
    else:
        sources = [wanted.source] if wanted.source else ["known", "claimed"]
        query = {**wanted.summary_query(now), "limit": SUSPICIOUS_FIRST}
    asked = [proxy.audit_events(**{**query, "suspicious": True, "source": source}) for source in sources]
    return [line for found in await asyncio.gather(*asked) for _, lines in lines_of(found) for line in lines]
