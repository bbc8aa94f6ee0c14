"""What the page and the API are built on: wired once, by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mycelos.gateway.lockdown import LockdownWatch
    from mycelos.gateway.models import ModelClient
    from mycelos.gateway.proxy_client import ProxyClient
    from mycelos.gateway.runs.service import RunService
    from mycelos.gateway.store import Store
    from mycelos.gateway.tools.registry import Registry


@dataclass(frozen=True)
class PageSettings:
    """Where the page is reached, what is needed to recognise its owner, and how this process is confined.

    ``walls`` and ``missing_walls`` are layers of the sandbox by name; missing ones the operator's file accepts.
    """

    bind: str
    port: int
    operator_url: str
    command_line_token: str = field(repr=False)
    password_hash: str | None = field(repr=False, default=None)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    mode: Literal["host", "containers"] = "host"
    walls: tuple[str, ...] = ()
    missing_walls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """The gateway's rooms. ``proxy.ledger_alarm`` says why the ledger cannot be believed, or is None."""

    store: Store
    runs: RunService
    proxy: ProxyClient
    models: ModelClient
    registry: Registry
    settings: PageSettings
    lockdown: LockdownWatch
