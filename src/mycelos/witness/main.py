"""The witness's process: one route, `POST /add-checkpoint`, until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from mycelos.configuration.environment import ConfigurationError
from mycelos.ledger.signed_note import NoteError, VerifierKey
from mycelos.ledger.submission import SUBMISSION_LIMIT
from mycelos.serving.http_server import HttpServer
from mycelos.witness.key import open_key
from mycelos.witness.store import WitnessStore
from mycelos.witness.witness import Answer, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATH: Final = "/add-checkpoint"
_BODY_SECONDS: Final = 30.0


class WitnessApp:
    """The ASGI application."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        found = await self._answer(scope, receive)
        headers = [(b"content-type", found.media_type.encode()), (b"content-length", b"%d" % len(found.body))]
        if found.status == 405:
            headers.append((b"allow", b"POST"))
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    async def _answer(self, scope: Any, receive: Any) -> Answer:
        if scope["path"] != _PATH:
            return Answer(404, b"there is only /add-checkpoint here\n")
        if scope["method"] != "POST":
            return Answer(405, b"send it with POST\n")
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            return Answer(408, b"the request took too long\n")
        if body is None:
            return Answer(413, b"a submission is shorter\n")
        try:
            # On a thread: it waits for the disk.
            return await asyncio.to_thread(self._witness.add_checkpoint, body)
        except (OSError, ValueError):
            return Answer(500, b"what was cosigned cannot be read or written; nothing was cosigned\n")


def serve(listen: str, folder: Path, vkeys: Sequence[str], announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``announce`` is told the witness's vkey once it listens.

    Args:
        listen: ``address:port``.
        folder: the witness's own; made where there is none.
        vkeys: the keys of the logs that are witnessed; a log with two keys is named twice.
        announce: called once.

    Raises:
        ConfigurationError: one of these cannot be used.
        OSError: the folder cannot be written.
    """
    logs = [_log(vkey) for vkey in vkeys]
    os.umask(0o077)
    listener = _bind(listen)
    store = WitnessStore(folder)
    try:
        key = open_key(store.key)
        app = WitnessApp(Witness(store, key, logs))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(app, listener, lambda: announce(str(key.public))))
    finally:
        store.close()


async def _run(app: WitnessApp, listener: socket.socket, announce: Callable[[], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = HttpServer(app)
    await server.listen(listener)
    announce()
    await stop.wait()
    await server.stop()


async def _read(receive: Any) -> bytes | None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > SUBMISSION_LIMIT:
            return None
    return body


def _log(vkey: str) -> VerifierKey:
    try:
        return VerifierKey.parse(vkey)
    except NoteError as error:
        message = f"--log {vkey!r}: {error}; `mycelos db audit checkpoint --key` shows it where the ledger is"
        raise ConfigurationError(message) from None


def _bind(text: str) -> socket.socket:
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        return socket.create_server((str(address), _port(port)), family=family)
    except (ValueError, OSError):
        message = f"--listen {text}: it must be address:port, free, and one that this user may take"
        raise ConfigurationError(message) from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError
    return int(text)
