"""A ledger in memory, as far as a witness sees it: a tree, a key, checkpoints. And a witness's server on loopback."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from egress_house import KnownOwnAddresses, ListedResolver

from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.merkle import Frontier, consistency_proof, root_of
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.guard import Guard, OpenedAddresses
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.post import GuardedPost
from mycelos.proxy.egress.url import CanonicalUrl, parse_url
from mycelos.serving.http_server import HttpServer
from mycelos.witness.key import open_key
from mycelos.witness.main import WitnessApp
from mycelos.witness.store import WitnessStore
from mycelos.witness.witness import Witness

ORIGIN = "ledger.mycelos.internal/0123456789abcdef"


class MemoryLog:
    """Entries are texts. ``number`` makes the key: whoever knows it is a thief of the log's key."""

    def __init__(self, texts: Iterable[str] = (), *, number: int = 1, origin: str = ORIGIN) -> None:
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.sign = private.sign
        self.key = VerifierKey(origin, private.public_key().public_bytes_raw())
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = Frontier()
        self.append(*texts)

    def append(self, *texts: str) -> None:
        for text in texts:
            leaf = hashlib.sha256(b"\x00" + text.encode()).digest()
            self.nodes |= {(level, place): found for level, place, found in self.frontier.append(leaf)}

    def node(self, level: int, place: int) -> bytes:
        return self.nodes[level, place]

    def at(self, size: int) -> str:
        """The checkpoint at ``size`` entries."""
        root = root_of(size, self.node)
        return str(Checkpoint(self.key.name, size, root).signed([(self.key, self.sign)]))

    @property
    def checkpoint(self) -> str | None:
        return self.at(self.frontier.size) if self.frontier.size else None

    async def consistency(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self.node)


def numbered(count: int, word: str = "entry") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def opened_post(port: int, host: str = "127.0.0.1", seconds: float = 30.0) -> GuardedPost:
    """The way out, with ``host`` and ``port`` opened as MYCELOS_EGRESS_OPEN does it."""
    opened = OpenedAddresses({(host, port): frozenset({ipaddress.ip_address("127.0.0.1")})})
    guard = Guard(KnownOwnAddresses(), opened, frozenset(), "")
    resolver: Any = ListedResolver({host: [["127.0.0.1"]]})
    return GuardedPost(resolver, guard, HttpClient(make_trust(None)), seconds)


class ServedWitness:
    """A witness that listens on loopback. ``url`` is its own."""

    def __init__(self, folder: Path, *logs: MemoryLog) -> None:
        self.store = WitnessStore(folder)
        self.own = open_key(self.store.key)
        self.witness = Witness(self.store, self.own, [log.key for log in logs])
        self.port = 0

    @property
    def url(self) -> CanonicalUrl:
        return parse_url(f"http://127.0.0.1:{self.port}/")

    @property
    def vkey(self) -> str:
        return str(self.own.public)

    @property
    def post(self) -> GuardedPost:
        return opened_post(self.port)


@asynccontextmanager
async def serving(folder: Path, *logs: MemoryLog) -> AsyncIterator[ServedWitness]:
    import socket

    served = ServedWitness(folder, *logs)
    server = HttpServer(WitnessApp(served.witness))
    listener = socket.create_server(("127.0.0.1", 0))
    served.port = listener.getsockname()[1]
    await server.listen(listener)
    try:
        yield served
    finally:
        await server.stop()
        served.store.close()
