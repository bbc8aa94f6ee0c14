"""What the page and the API are built on: wired once, by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mycelos.configuration.environment import Environment
    from mycelos.configuration.layout import DataLayout
    from mycelos.gateway.models import ModelClient
    from mycelos.gateway.proxy_client import ProxyClient
    from mycelos.gateway.recorder import Recorder
    from mycelos.gateway.runs.service import RunService
    from mycelos.gateway.settings import GatewaySettings
    from mycelos.gateway.store import Store
    from mycelos.gateway.tools.registry import Registry


@dataclass(frozen=True)
class Services:
    """The gateway's rooms. ``proxy.head.alarm`` says why the ledger cannot be believed, or is None."""

    store: Store
    runs: RunService
    proxy: ProxyClient
    recorder: Recorder
    models: ModelClient
    registry: Registry
    settings: GatewaySettings
    environment: Environment
    layout: DataLayout
    command_line_token: str = field(repr=False)
