"""The proxy's composition root: ledger, vault, egress, the two doors; ready, then serving until it is told to stop.

python -I -m mycelos.proxy --data-dir D [--control-fd N] [--listen ADDRESS] --ready-fd N
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sqlite3
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from mycelos import __version__
from mycelos.configuration.environment import ConfigurationError, Environment, read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import OperatorFile, read_operator_file
from mycelos.ledger.events import Event
from mycelos.proxy import listening, process
from mycelos.proxy.channels import Channels
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.opened_hosts import Opening, open_hosts, pinned
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.pipeline import EgressPipeline
from mycelos.proxy.egress.quota import QuotaBook
from mycelos.proxy.egress.resolve import DnsResolver, Resolver, SystemResolver
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.egress_routes import EgressRoutes
from mycelos.proxy.gateway_door import GatewayDoor
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.operator_door import OperatorDoor
from mycelos.proxy.operator_links import OneTimeLinks
from mycelos.proxy.operator_socket import bind_operator_socket, write_operator_token
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.serving.http_server import HttpServer
from mycelos.wire.problems import Refusal, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAC_KEY: Final = "ledger-args-mac"
_ORPHAN_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What the start was given, checked."""

    environment: Environment
    operator_file: OperatorFile
    master_key: bytes
    token: str
    control: socket.socket | None
    listen: str | None
    ready: int

    @property
    def listener_ports(self) -> frozenset[int]:
        """Every TCP port of Mycelos on this machine: no opened host can be one of them."""
        ports = {self.environment.port, self.environment.operator_port, listening.tcp_port(self.listen)}
        return frozenset(port for port in ports if port is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. The exit code: 0 after a graceful stop, 1 where the proxy cannot start."""
    options = _parse(arguments)
    process.quiet_errors()
    try:
        process.harden()
        start = _read_start(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            process.quiet_loop(runner.get_loop())
            runner.run(_run(start))
    except (ConfigurationError, LedgerError) as error:
        return _cannot_start(str(error))
    except VaultError as error:
        return _cannot_start(str(error))
    except Refusal as refusal:
        return _cannot_start(joined(refusal.problem.detail, refusal.problem.next))
    except (OSError, sqlite3.Error) as error:
        return _cannot_start(f"the system refused ({type(error).__name__}); see disk space and rights")
    return 0


def _cannot_start(why: str) -> int:
    # Text of ours, on one line whatever a path in it holds.
    print(f"mycelos proxy cannot start: {' '.join(why.split())}", file=sys.stderr)  # noqa: T201 - to a person
    return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mycelos.proxy", allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--control-fd", type=int)
    parser.add_argument("--listen")
    parser.add_argument("--ready-fd", type=int, required=True)
    return parser.parse_args(arguments)


def _read_start(options: argparse.Namespace) -> Start:
    settings = replace(read_environment(os.environ), data_directory=options.data_dir.absolute())
    process.forget_secrets(os.environ)
    layout = DataLayout(settings.data_directory)
    if settings.proxy_token is None:
        message = "there is no MYCELOS_PROXY_TOKEN; make one with: mycelos init"
        raise ConfigurationError(message)
    listen = options.listen or settings.proxy_listen
    if options.control_fd is None and listen is None:
        message = "neither --control-fd nor --listen (or MYCELOS_PROXY_LISTEN) says where the gateway comes from"
        raise ConfigurationError(message)
    return Start(
        environment=replace(settings, master_key=None, proxy_token=None),
        operator_file=read_operator_file(layout.operator_file),
        master_key=load_master_key(layout, settings.master_key),
        token=settings.proxy_token,
        control=None if options.control_fd is None else socket.socket(fileno=options.control_fd),
        listen=listen,
        ready=options.ready_fd,
    )


async def _run(start: Start) -> None:
    layout = DataLayout(start.environment.data_directory)
    async with AsyncExitStack() as stack:
        vault = Vault.open(layout, start.master_key)
        stack.callback(vault.close)
        recorder = await Recorder.open(layout.ledger)
        stack.push_async_callback(recorder.close)
        with vault.wrapped_key(_MAC_KEY) as mac_key:
            recorder.set_mac_key(mac_key.reveal())
        rules = EgressRules.open(vault.database, vault.keys)
        routes, openings = await _make_egress(start, vault, rules, recorder, stack)

        gateway_server = HttpServer(GatewayDoor(token=start.token, egress=routes, vault=vault, ledger=recorder))
        operator_token = write_operator_token(layout)
        operator_server = HttpServer(
            OperatorDoor(vault=vault, recorder=recorder, rules=rules, links=OneTimeLinks(), token=operator_token)
        )
        stack.push_async_callback(gateway_server.stop)
        stack.push_async_callback(operator_server.stop)
        await _record_start(start, recorder, vault, openings)
        await operator_server.listen_unix(bind_operator_socket(layout))
        stack.callback(layout.operator_socket.unlink, missing_ok=True)
        await _serve(start, gateway_server)


async def _make_egress(
    start: Start, vault: Vault, rules: EgressRules, recorder: Recorder, stack: AsyncExitStack
) -> tuple[EgressRoutes, tuple[Opening, ...]]:
    settings = start.environment
    resolver: Resolver = SystemResolver() if settings.dns is None else DnsResolver(settings.dns)
    own = OwnAddresses()
    openings = await open_hosts(settings.egress_open, resolver, own, start.listener_ports)
    client = HttpClient(make_trust(settings.ca_file))
    stack.callback(client.close)
    pipeline = EgressPipeline(
        vault=vault,
        rules=rules,
        recorder=recorder,
        resolver=resolver,
        guard=Guard(own, pinned(openings), start.listener_ports, socket.gethostname()),
        client=client,
        quotas=QuotaBook(),
    )
    return EgressRoutes(pipeline), openings


async def _record_start(start: Start, recorder: Recorder, vault: Vault, openings: tuple[Opening, ...]) -> None:
    await recorder.fact(
        Event.PROXY_STARTED,
        outcome="ok",
        details={
            "version": __version__,
            "mode": "listen" if start.control is None else "channels",
            "key_id": vault.keys.kid,
        },
    )
    for opening in openings:
        await recorder.fact(
            Event.EGRESS_OPENED,
            subject=opening.host,
            outcome="ok" if opening.addresses else "refused",
            reason=opening.reason,
            details={
                "host": opening.host,
                "port": opening.port,
                "addresses": [str(address) for address in opening.addresses],
            },
        )
    for wall in start.operator_file.sandbox.accept_missing:
        await recorder.fact(Event.SANDBOX_WALL_WAIVED, subject=wall, outcome="waived", details={"wall": wall})


async def _serve(start: Start, server: HttpServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        if start.listen is not None and start.control is None:
            await server.listen(listening.bind(start.listen))
        channels = None if start.control is None else tasks.create_task(_serve_channels(start.control, server, stop))
        os.write(start.ready, b"ready\n")
        os.close(start.ready)
        await stop.wait()
        if channels is not None:
            channels.cancel()


async def _serve_channels(control: socket.socket, server: HttpServer, stop: asyncio.Event) -> None:
    parent = os.getppid()
    await Channels(control, server).serve()
    # A hostile gateway can shut the channel down; the operator, who has another door, must then still have it.
    _log.warning("the control channel was closed: the gateway cannot come any more, the operator can")
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel has no event for it that a loop can wait for
        await asyncio.sleep(_ORPHAN_SECONDS)
    stop.set()
