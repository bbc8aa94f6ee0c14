"""A proxy in one network namespace, the outside in another, joined by a veth pair, and no way out of either.

The test owns every address: public ones, the outside's private one, and those of the proxy's machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from dns_server import DnsServer
from network_namespaces import Namespace, network_namespace

from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.vault.keys import create_master_key
from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION

PUBLIC_V4 = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1::1"
OTHER_PUBLIC_V4 = "198.41.0.50"
PRIVATE_V4 = "10.77.0.2"
"""The outside's own address on the link, where the name server is too."""

_INSIDE_V4 = "10.77.0.1"
_INSIDE_V6, _OUTSIDE_V6 = "fd77::1", "fd77::2"
_SECONDS = 30.0


@dataclass
class Listener:
    """A server that answers each request with ``reply`` and remembers what came."""

    reply: bytes
    heads: list[str] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)


@dataclass
class Network:
    """Both namespaces, the name server and the authority that signs for the listeners."""

    inside: Namespace
    outside: Namespace
    names: DnsServer
    authority: trustme.CA
    stack: contextlib.AsyncExitStack

    async def listen(
        self, where: Namespace, address: str, port: int, *names: str, reply: bytes = b"", secure: bool = True
    ) -> Listener:
        """Serve at ``address``, over TLS with a certificate for ``names``, until the network ends."""
        listener = Listener(reply or response(b"hello"))
        context = self._context(listener, names) if secure else None

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listener.connections += 1
            listener.writers.append(writer)
            try:
                while True:
                    listener.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
                    writer.write(listener.reply)
                    await writer.drain()
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.transport.abort()

        bound = where.call(lambda: bind(socket.SOCK_STREAM, address, port))
        server = await asyncio.start_server(connected, sock=bound, ssl=context)
        self.stack.push_async_callback(_end, server, listener)
        return listener

    def _context(self, listener: Listener, names: tuple[str, ...]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)

        def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            listener.server_names.append(name)

        context.sni_callback = note
        return context


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer in HTTP/1.1."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def bind(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A bound socket in the namespace of this thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
    except BaseException:
        made.close()
        raise
    return made


@contextlib.asynccontextmanager
async def outside_network() -> AsyncIterator[Network]:
    """The two namespaces, joined, with the public addresses at the outside and a name server at `PRIVATE_V4`."""
    with network_namespace() as inside, network_namespace() as outside:
        async with contextlib.AsyncExitStack() as stack:
            _join(inside, outside)
            names = DnsServer({})
            udp, tcp = outside.call(
                lambda: [bind(kind, PRIVATE_V4, 53) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
            )
            await names.start(udp, tcp)
            stack.callback(names.stop)
            yield Network(inside, outside, names, trustme.CA(), stack)


def _join(inside: Namespace, outside: Namespace) -> None:
    inside.ip(
        "link", "add", "inside", "type", "veth", "peer", "name", "outside", "netns", outside.path, beside=(outside,)
    )
    for namespace, device, v4, v6 in (
        (inside, "inside", _INSIDE_V4, _INSIDE_V6),
        (outside, "outside", PRIVATE_V4, _OUTSIDE_V6),
    ):
        namespace.ip("link", "set", device, "up")
        namespace.ip("addr", "add", f"{v4}/30", "dev", device)
        namespace.ip("addr", "add", f"{v6}/64", "dev", device, "nodad")
    for address in (f"{PUBLIC_V4}/32", f"{OTHER_PUBLIC_V4}/32", f"{PUBLIC_V6}/128"):
        outside.ip("addr", "add", address, "dev", "lo")
    # The link is the whole way: at its other end nothing is passed on.
    inside.ip("route", "add", "default", "via", PRIVATE_V4)
    inside.ip("-6", "route", "add", "default", "via", _OUTSIDE_V6)


async def _end(server: asyncio.Server, listener: Listener) -> None:
    server.close()
    for writer in listener.writers:
        writer.transport.abort()
    # One turn of the loop for the handlers to meet the end of their connections.
    await asyncio.sleep(0)


@dataclass(frozen=True)
class Answer:
    """One answer of the gateway's door."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """The problem's code; empty where the call was made."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True)
class ProxyInside:
    """A real proxy, `python -I -m mycelos.proxy`, in the inside namespace. Its doors are unix sockets."""

    layout: DataLayout
    token: str
    door: Path

    @property
    def operator(self) -> OperatorClient:
        return OperatorClient(self.layout)

    async def use(self, url: str, service: str | None = None, method: str = "GET") -> Answer:
        """One `POST /http`."""
        message = {"method": method, "url": url, **({} if service is None else {"inject_credential": service})}
        return await asyncio.to_thread(self._post, message)

    def _post(self, message: dict[str, Any]) -> Answer:
        connection = http.client.HTTPConnection("mycelos-proxy", timeout=_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            PROTOCOL_HEADER: PROTOCOL_VERSION,
        }
        with contextlib.closing(connection):
            connection.sock.connect(str(self.door))
            connection.request("POST", "/http", json.dumps(message), headers)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()))

    def events(self) -> list[str]:
        """The names on record, from the first."""
        with LedgerReader(self.layout.ledger) as reader:
            return [str(entry.event) for entry in reader.after(-1, READ_LIMIT)]


@contextlib.contextmanager
def proxy_inside(
    network: Network, folder: Path, program: tuple[str, ...] = ("-I", "-m", "mycelos.proxy")
) -> Iterator[ProxyInside]:
    """Start the proxy with the network's name server and authority; it ends with the block."""
    data = folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    proxy = ProxyInside(DataLayout(data), secrets.token_urlsafe(48), folder / "gateway.sock")
    roots = folder / "roots.pem"
    network.authority.cert_pem.write_to_path(roots)
    create_master_key(proxy.layout)
    ready, ready_of_proxy = os.pipe()
    command = [
        *network.inside.enter(), sys.executable, *program, "--data-dir", str(data), "--listen", f"unix:{proxy.door}",
        "--ready-fd", str(ready_of_proxy),
    ]  # fmt: skip
    environment = {
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "MYCELOS_PROXY_TOKEN": proxy.token,
        "MYCELOS_DNS": f"{PRIVATE_V4}:53",
        "MYCELOS_CA_FILE": str(roots),
    }
    with ExitStack() as stack, os.fdopen(ready, "rb") as stream:
        descriptors = (network.inside.descriptor, ready_of_proxy)
        try:
            process = subprocess.Popen(command, env=environment, pass_fds=descriptors, stdin=subprocess.DEVNULL)
        finally:
            os.close(ready_of_proxy)
        stack.callback(_stop, process)
        came, _, _ = select.select([stream], [], [], _SECONDS)
        assert came
        assert stream.readline() == b"ready\n", "the proxy did not start"
        yield proxy


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
