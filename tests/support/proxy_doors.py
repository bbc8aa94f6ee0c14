"""For tests of the gateway's door: the door over a real pipeline, and a client that speaks to it."""

from __future__ import annotations

from typing import Any

import httpx2
from egress_house import House

from mycelos.proxy.egress_routes import EgressRoutes
from mycelos.proxy.gateway_door import GatewayDoor

TOKEN = "t" * 43
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}", "Mycelos-Protocol": "1"}


def make_door(house: House, *ports: int, **parts: Any) -> GatewayDoor:
    routes = EgressRoutes(house.pipeline(*ports))
    own: dict[str, Any] = {"token": TOKEN, "egress": routes, "vault": house.vault, "ledger": house.recorder}
    return GatewayDoor(**(own | parts))


def client(door: GatewayDoor, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(door, raise_app_exceptions=True),
        base_url="http://mycelos-proxy",
        headers=AUTHORIZED if headers is None else headers,
    )
