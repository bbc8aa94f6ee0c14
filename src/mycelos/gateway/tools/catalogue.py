"""The tools of this version, in one registry: the gateway calls them, `mycelos policy check` knows their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mycelos.gateway.tools.github import GitHub
from mycelos.gateway.tools.registry import Registry
from mycelos.gateway.tools.web import Web
from mycelos.wire.egress import CredentialSummary, HttpAnswer, HttpCall


def make_registry(
    http: Callable[[HttpCall], Awaitable[HttpAnswer]], credentials: Callable[[], Awaitable[list[CredentialSummary]]]
) -> Registry:
    """Every tool, over the two calls of the proxy client that handlers use."""
    return Registry([*GitHub(http, credentials).tools(), *Web(http).tools()])
