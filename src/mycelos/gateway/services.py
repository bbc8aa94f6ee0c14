"""What the routes need, as ports: the composition root in `mycelos.gateway.main` fills them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mycelos.gateway.runs.events import RunEvent
from mycelos.gateway.store.records import Model
from mycelos.gateway.store.store import Store
from mycelos.wire.audit import AppendReceipt, AppendRequest
from mycelos.wire.conversation import ToolDefinition
from mycelos.wire.egress import CredentialSummary


class RunPort(Protocol):
    """Starting, following and stopping runs: `mycelos.gateway.runs.service.RunService`."""

    async def start(self, chat_id: str, text: str, agent: str, model: str | None) -> str:
        """Store the message and open a run; its id."""

    def events(self, run_id: str, after: int) -> AsyncIterator[RunEvent]:
        """The events after number ``after``, as they happen; ends after the last one."""

    async def cancel(self, run_id: str) -> bool:
        """Ask a run to end; whether it was open."""


class ProxyPort(Protocol):
    """The proxy's door, as far as pages and routes need it: `mycelos.gateway.proxy_client`."""

    async def append(self, request: AppendRequest) -> AppendReceipt:
        """Put an entry on record; durable when it returns."""

    async def credentials(self) -> list[CredentialSummary]:
        """Metadata of the stored credentials."""

    async def audit_events(self, **query: str | int | bool) -> list[dict[str, Any]]:
        """Ledger entries, oldest first; the query's keys are those of `GET /audit/events`."""

    async def health(self) -> bool:
        """Whether the proxy answers."""


class ModelTestPort(Protocol):
    """Asking a model endpoint for one short answer."""

    async def test(self, model: Model) -> str:
        """What it answered. Raises `Refusal` where it did not."""


class ToolsPort(Protocol):
    """The registry of tools."""

    def definitions(self) -> Sequence[ToolDefinition]:
        """Each tool as a model sees it."""


@dataclass(frozen=True)
class PageSettings:
    """Where the page is reached, and what is needed to recognise its owner."""

    bind: str
    port: int
    operator_url: str
    command_line_token: str = field(repr=False)
    password_hash: str | None = field(repr=False, default=None)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """Everything that the routes work with."""

    store: Store
    runs: RunPort
    proxy: ProxyPort
    models: ModelTestPort
    tools: ToolsPort
    settings: PageSettings
