"""For tests of the gateway's door: the door over a real pipeline, and a client that speaks to it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
from egress_house import House

from mycelos.proxy.egress_routes import EgressRoutes
from mycelos.proxy.gateway_door import GatewayDoor
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.materialize import Materializing
from mycelos.serving.http_server import HttpServer

TOKEN = "t" * 43
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}", "Mycelos-Protocol": "1"}


def make_door(house: House, *ports: int, **parts: Any) -> GatewayDoor:
    routes = EgressRoutes(house.pipeline(*ports))
    lockdown = parts.get("lockdown") or Lockdown.open(house.vault.database, house.vault.keys)
    own: dict[str, Any] = {
        "token": TOKEN,
        "egress": routes,
        "vault": house.vault,
        "ledger": house.recorder,
        "lockdown": lockdown,
        "materializing": Materializing(vault=house.vault, recorder=house.recorder, lockdown=lockdown),
    }
    return GatewayDoor(**(own | parts))


def client(door: GatewayDoor, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(door, raise_app_exceptions=True),
        base_url="http://mycelos-proxy",
        headers=AUTHORIZED if headers is None else headers,
    )


async def begin_forward(
    server: HttpServer, port: int, method: str = "GET", *lines: str, body: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which a request by `/forward` with the credential ``github`` was sent, byte by byte ours."""
    ours, theirs = socket.socketpair()
    await server.adopt(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    head = [f"{method} /forward/http/127.0.0.1:{port}/ HTTP/1.1", "host: x", "Mycelos-Credential: github"]
    head += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
    writer.write("\r\n".join([*head, *lines, "", body]).encode())
    return reader, writer
