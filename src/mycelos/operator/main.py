"""The process of the vault page: confines itself first, then loads the page and serves it on the handed-over socket."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.sandbox.confine import confine_operator
from mycelos.sandbox.errors import SandboxRefused

if TYPE_CHECKING:
    from uvicorn import Server

_KEY_PREFIX: Final = "MYCELOS_MASTER_KEY"
_FAILED: Final = 1
_WALL_MISSING: Final = 3


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM. Exit codes: 0 stopped, 1 cannot start, 2 wrong usage, 3 a wall is missing."""
    parser = argparse.ArgumentParser(prog="python -m mycelos.operator", allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True, help="the data folder")
    parser.add_argument("--listen-fd", type=int, required=True, help="the bound listening socket")
    parser.add_argument("--ready-fd", type=int, help="where to write a line when the page answers")
    parser.add_argument("--public-url", required=True, help="the page's address as browsers see it")
    options = parser.parse_args(arguments)
    if any(name.startswith(_KEY_PREFIX) for name in os.environ):
        print("mycelos.operator: the master key is in the environment; only the proxy may have it", file=sys.stderr)  # noqa: T201
        return _FAILED
    kept = [options.listen_fd] if options.ready_fd is None else [options.listen_fd, options.ready_fd]
    layout = DataLayout(options.data_dir)
    try:
        confine_operator(options.data_dir, kept)
    except SandboxRefused as refused:
        print(f"mycelos.operator: {refused}", file=sys.stderr)  # noqa: T201 - the supervisor shows it
        return _WALL_MISSING
    listener = socket.socket(fileno=options.listen_fd)
    server = _make_server(layout, listener, options.public_url, options.ready_fd)
    server.run(sockets=[listener])
    return 0 if server.started else _FAILED


def _make_server(layout: DataLayout, listener: socket.socket, public_url: str, ready: int | None) -> Server:
    # After confinement: what these modules do on import is confined too.
    from uvicorn import Config, Server  # noqa: PLC0415

    from mycelos.operator.app import VaultPage  # noqa: PLC0415
    from mycelos.operator.browser_connection import BrowserConnection  # noqa: PLC0415
    from mycelos.operator.browser_rules import allowed_origins  # noqa: PLC0415
    from mycelos.operator.client import OperatorClient  # noqa: PLC0415
    from mycelos.operator.sessions import Sessions  # noqa: PLC0415

    class AnnouncedServer(Server):
        """Says on a descriptor that it answers."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None and self.started:
                os.write(ready, b"ready\n")
                os.close(ready)

    page = VaultPage(OperatorClient(layout), Sessions(), public_url)
    config = Config(
        page.app(allowed_origins(listener.getsockname()[1], public_url)),
        loop="asyncio",
        http=BrowserConnection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = AnnouncedServer(config)
    # What is here now holds nothing that was posted and stays: the collection after each form need not look at it.
    gc.collect()
    gc.freeze()
    return server
