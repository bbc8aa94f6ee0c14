"""The gateway's composition root: wires the rooms, serves the page on the listener, stops in order."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import uvloop

from mycelos import __version__
from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.app import create_app
from mycelos.gateway.broker import Broker
from mycelos.gateway.descriptor_channel import DescriptorChannel
from mycelos.gateway.identity.start_check import check_before_listening
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.gateway.models import ModelClient
from mycelos.gateway.proxy_client import ProxyClient
from mycelos.gateway.proxy_client.head import RememberedHead
from mycelos.gateway.proxy_client.network import connector
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.runs.run import LOCKED_DOWN, RunDriver
from mycelos.gateway.runs.service import RunService
from mycelos.gateway.services import PageSettings, Services
from mycelos.gateway.spawner_client import SpawnerClient
from mycelos.gateway.store import Store
from mycelos.gateway.tools.catalogue import make_registry
from mycelos.ledger.events import Event
from mycelos.serving.cause import without_groups
from mycelos.serving.http_server import HttpServer
from mycelos.wire.problems import Refusal, joined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mycelos.configuration.environment import Environment
    from mycelos.configuration.layout import DataLayout
    from mycelos.gateway.descriptors import Descriptors
    from mycelos.gateway.settings import GatewaySettings
    from mycelos.sandbox.confine import ConfinementReport

PROXY_SECONDS: Final = 20.0
"""The proxy may start at the same time: its ledger is waited for this long."""

_RETRY_SECONDS: Final = 0.1
_TOKEN_BYTES: Final = 32


def run(
    environment: Environment,
    settings: GatewaySettings,
    layout: DataLayout,
    descriptors: Descriptors,
    walls: ConfinementReport,
) -> None:
    """Serve until SIGTERM or SIGINT, behind ``walls``; what the files outside of them say is read by now.

    Raises:
        ConfigurationError: a setting cannot be used, or the proxy or the store cannot be reached.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            with without_groups():
                runner.run(_serve(environment, settings, layout, descriptors, walls))
        except Refusal as refusal:
            problem = refusal.problem
            message = joined(problem.detail, problem.next)
            raise ConfigurationError(message) from None


async def _serve(
    environment: Environment,
    settings: GatewaySettings,
    layout: DataLayout,
    descriptors: Descriptors,
    walls: ConfinementReport,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    page = _page_settings(environment, layout.command_line_token, walls)
    proxy = _proxy_client(environment, layout, descriptors)
    recorder = Recorder(proxy.append)
    spawner = SpawnerClient(DescriptorChannel(descriptors.spawner, "spawner"))
    store = await Store.open(layout.gateway_database)
    try:
        await _record_start(recorder, environment.port)
        lockdown = LockdownWatch(store, recorder, proxy.credentials)
        proxy.transport.on_lockdown = lockdown.note
        registry = make_registry(proxy.http, proxy.credentials)
        models = ModelClient(proxy.transport, registry, lockdown)
        driver = RunDriver(
            store.runs, Broker(registry, models, recorder), spawner, recorder, seconds=settings.runs.seconds
        )
        runs = RunService(store, driver, settings.runs, proxy.refuse_stored_secret)
        lockdown.end_runs = partial(runs.end_all, LOCKED_DOWN)
        services = Services(
            store=store, runs=runs, proxy=proxy, models=models, registry=registry, settings=page, lockdown=lockdown
        )
        server = HttpServer(create_app(services))
        async with runs.running(), _following(lockdown, proxy):
            await server.listen(socket.socket(fileno=descriptors.listen))
            _tell_ready(descriptors.ready)
            await stop.wait()
            await server.stop()
    finally:
        await proxy.close()
        spawner.close()
        await store.close()


@asynccontextmanager
async def _following(lockdown: LockdownWatch, proxy: ProxyClient) -> AsyncIterator[None]:
    """Nothing is served before sessions from before a lockdown have ended; then it is followed, as the ledger is."""
    await lockdown.start()
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(each.run()) for each in (lockdown, proxy.follower, proxy.head)]
        try:
            yield
        finally:
            for task in following:
                task.cancel()


def _proxy_client(environment: Environment, layout: DataLayout, descriptors: Descriptors) -> ProxyClient:
    if environment.proxy_token is None:
        message = "MYCELOS_PROXY_TOKEN is not set; mycelos serve sets it, in containers the installer's .env does"
        raise ConfigurationError(message)
    if environment.proxy_url is None:
        message = "MYCELOS_PROXY_URL is not set; it says where the proxy is"
        raise ConfigurationError(message)
    connect = connector(environment.proxy_url, descriptors.control)
    return ProxyClient(connect, environment.proxy_token, RememberedHead(layout.gateway_head))


def _page_settings(environment: Environment, token_file: Path, walls: ConfinementReport) -> PageSettings:
    password_hash = check_before_listening(environment)
    return PageSettings(
        bind=environment.bind,
        port=environment.port,
        operator_url=f"http://localhost:{environment.operator_port}",
        command_line_token=write_command_line_token(token_file),
        password_hash=password_hash,
        public_url=environment.public_url,
        trusted_proxies=environment.trusted_proxies,
        mode="host" if (environment.proxy_url or "").startswith("fd:") else "containers",
        walls=tuple(layer.value for layer in walls.layers),
        missing_walls=tuple(layer.value for layer in walls.missing),
    )


def write_command_line_token(path: Path) -> str:
    """A fresh token for the command line, in a file that its owner alone can read, whole or not at all."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(token + "\n")
    temporary.replace(path)
    return token


async def _record_start(recorder: Recorder, port: int) -> None:
    """Nothing is served before the start is on record."""
    deadline = asyncio.get_running_loop().time() + PROXY_SECONDS
    while True:
        try:
            await recorder.fact(
                Event.GATEWAY_STARTED,
                subject="gateway",
                outcome="ok",
                details={"version": __version__, "process": "gateway", "port": port},
            )
        except Refusal:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


def _tell_ready(descriptor: int | None) -> None:
    if descriptor is not None:
        os.write(descriptor, b"ready\n")
        os.close(descriptor)
