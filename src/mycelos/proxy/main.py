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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from mycelos import __version__
from mycelos.configuration.environment import ConfigurationError, Environment, read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import OperatorFile, read_operator_file
from mycelos.configuration.witness import WitnessSettings, witness_settings
from mycelos.ledger.events import Event
from mycelos.proxy import listening, lockdown_step, process, rollback
from mycelos.proxy.channels import Channels
from mycelos.proxy.egress.address_changes import AddressChanges
from mycelos.proxy.egress.approvals import Approvals
from mycelos.proxy.egress.costly_work import CostlyWork
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.open_calls import OpenCalls
from mycelos.proxy.egress.opened_hosts import Opening, open_hosts, pinned
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.pipeline import EgressPipeline
from mycelos.proxy.egress.post import GuardedPost
from mycelos.proxy.egress.quota import QuotaBook, utc_day
from mycelos.proxy.egress.resolve import DnsResolver, Resolver, SystemResolver
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.egress.spent_today import count_spent
from mycelos.proxy.egress.web_budget import WebBudget
from mycelos.proxy.egress_routes import EgressRoutes
from mycelos.proxy.gateway_door import GatewayDoor
from mycelos.proxy.head_keeper import HeadKeeper, keeping
from mycelos.proxy.key_rotation import ledger_keys, source_of
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.disk_reserve import DiskReserve
from mycelos.proxy.ledger.heads import outside_of, remembered_heads
from mycelos.proxy.ledger.limits import LedgerLimits
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.signed_end import demand_signed_end
from mycelos.proxy.ledger.view import SavedLog
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.lockdown_step import LockdownStep
from mycelos.proxy.materialize import Materializing
from mycelos.proxy.operator_door.approvals import forget_outdated, note_end
from mycelos.proxy.operator_door.composition import Parts, compose
from mycelos.proxy.operator_door.links import OneTimeLinks
from mycelos.proxy.operator_door.unix_socket import bind_operator_socket, clear_operator_socket, write_operator_token
from mycelos.proxy.passkeys.ceremony import RelyingParty
from mycelos.proxy.passkeys.store import Passkeys
from mycelos.proxy.readiness import Readiness
from mycelos.proxy.stored_secrets import REQUEST_CHARACTERS, StoredSecrets
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.next_key import settle_at_start
from mycelos.proxy.vault.state import times_of_keys
from mycelos.proxy.vault.store import Vault
from mycelos.proxy.witness.composition import demand_agreement, open_witnesses
from mycelos.proxy.witness.keeper import witnessing
from mycelos.serving.cause import named, without_groups
from mycelos.serving.http_server import HttpServer
from mycelos.wire.keys import KeySource
from mycelos.wire.problems import Refusal, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mycelos.proxy.ledger.recovery import Recovery

SWITCH_SECONDS: Final = 0.0005
"""For how long the event loop keeps the interpreter from a thread that waits for it. A revocation is work of the
database's thread and the ledger's: with Python's 5 ms, a flood at the gateway's door costs each of its steps that."""
_ORPHAN_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What the start was given, checked."""

    environment: Environment
    operator_file: OperatorFile
    master_key: bytes
    key_source: KeySource
    token: str
    control: socket.socket | None
    listen: str | None
    readiness: Readiness

    @property
    def listener_ports(self) -> frozenset[int]:
        """Every TCP port of Mycelos on this machine: no opened host can be one of them."""
        ports = {self.environment.port, self.environment.operator_port, listening.tcp_port(self.listen)}
        return frozenset(port for port in ports if port is not None)


@dataclass(frozen=True)
class Stores:
    """What the egress decides by, and records to."""

    lockdown: Lockdown
    vault: Vault
    rules: EgressRules
    approvals: Approvals
    recorder: Recorder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. The exit code: 0 after a graceful stop, 1 where the proxy cannot start."""
    options = _parse(arguments)
    process.quiet_errors()
    try:
        process.harden()
        sys.setswitchinterval(SWITCH_SECONDS)
        start = _read_start(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            process.quiet_loop(runner.get_loop())
            with without_groups():
                runner.run(_run(start))
    except (ConfigurationError, LedgerError) as error:
        return _cannot_start(str(error))
    except VaultError as error:
        return _cannot_start(str(error))
    except Refusal as refusal:
        return _cannot_start(joined(refusal.problem.detail, refusal.problem.next))
    except (OSError, sqlite3.Error) as error:
        return _cannot_start(f"the system refused ({named(error)}); see disk space and rights")
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
    settle_at_start(layout, settings.master_key)
    listen = options.listen or settings.proxy_listen
    if options.control_fd is None and listen is None:
        message = "neither --control-fd nor --listen (or MYCELOS_PROXY_LISTEN) says where the gateway comes from"
        raise ConfigurationError(message)
    return Start(
        environment=replace(settings, master_key=None, proxy_token=None),
        operator_file=read_operator_file(layout.operator_file),
        master_key=load_master_key(layout, settings.master_key),
        key_source=source_of(settings.master_key),
        token=settings.proxy_token,
        control=None if options.control_fd is None else socket.socket(fileno=options.control_fd),
        listen=listen,
        readiness=Readiness(options.ready_fd),
    )


async def _run(start: Start) -> None:
    layout = DataLayout(start.environment.data_directory)
    async with AsyncExitStack() as stack:
        settings = witness_settings(start.environment, start.operator_file, layout)
        vault, recorder = await open_stores(
            layout, start.master_key, stack, os.environ, settings, alive=start.readiness.busy
        )
        clear_operator_socket(layout)
        limits = start.operator_file.ledger
        recorder.limit_by(LedgerLimits(limits, DiskReserve(layout.proxy, limits.reserve_bytes)))
        rules = EgressRules.open(vault.database, vault.keys)
        set_at = await lockdown_step.set_at(recorder)
        lockdown = Lockdown.open(vault.database, vault.keys, set_at)
        links = OneTimeLinks()
        vault_page = RelyingParty.of(f"http://localhost:{start.environment.operator_port}")
        passkeys = Passkeys.open(vault.database, vault.keys, vault_page)
        step = LockdownStep(lockdown, recorder, links, vault.state.anchor_details, is_recorded=set_at is not None)
        approvals = Approvals()
        approvals.on_end = partial(note_end, recorder)
        stores = Stores(lockdown, vault, rules, approvals, recorder)
        pipeline, openings, post = await _make_egress(start, stores, stack)
        outside = outside_of(layout, os.environ, installation_of(layout.vault))
        witnesses = await open_witnesses(
            settings,
            recorder,
            recorder,
            outside=outside,
            post=post,
            is_locked=lambda: lockdown.state.locked,
        )
        # Ends after the servers: what they record at their end is given to the witnesses too.
        await stack.enter_async_context(witnessing(witnesses))

        def decide_again() -> None:
            pipeline.recheck()
            forget_outdated(approvals, vault, lockdown)

        lockdown.on_set = decide_again

        routes = EgressRoutes(pipeline)
        materializing = Materializing(vault=vault, recorder=recorder, lockdown=lockdown)
        door = GatewayDoor(
            token=start.token,
            egress=routes,
            vault=vault,
            ledger=recorder,
            lockdown=lockdown,
            materializing=materializing,
        )
        gateway_server = HttpServer(door, door.note_refused)
        operator_server = HttpServer(
            compose(
                Parts(
                    vault=vault,
                    recorder=recorder,
                    rules=rules,
                    links=links,
                    passkeys=passkeys,
                    egress=pipeline,
                    lockdown=step,
                    approvals=approvals,
                    materializing=materializing,
                    token=write_operator_token(layout),
                    changed=decide_again,
                    rotated=pipeline.cut,
                    layout=layout,
                    key_source=start.key_source,
                    witnesses=lambda: tuple(keeper.status for keeper in witnesses),
                )
            )
        )
        stack.push_async_callback(gateway_server.stop)
        stack.push_async_callback(operator_server.stop)
        await _record_start(start, recorder, vault, openings)
        vault.state.demand_announced()
        await stack.enter_async_context(keeping(HeadKeeper(outside, recorder, vault.state)))
        await step.catch_up()
        await operator_server.listen_unix(bind_operator_socket(layout))
        stack.callback(layout.operator_socket.unlink, missing_ok=True)
        await _serve(start, gateway_server)


async def open_stores(
    layout: DataLayout,
    master_key: bytes,
    stack: AsyncExitStack,
    environ: Mapping[str, str],
    witnesses: WitnessSettings | None = None,
    *,
    alive: Callable[[], None] | None = None,
) -> tuple[Vault, Recorder]:
    """Vault and ledger, each held against the other, the heads outside and the witnesses before anything is written.

    ``alive`` is called while the ledger is read.

    Raises:
        ConfigurationError: a witness's file cannot be used.
        VaultError, LedgerError: one of them is not as it must be, or is older than something else remembers.
    """
    rollback.demand_vault(layout)
    outside = outside_of(layout, environ, installation_of(layout.vault))
    remembered = remembered_heads(layout, outside)
    for keeper in remembered.unreadable:
        _log.warning("what %s remembers of the ledger cannot be read: %s", keeper, remembered.paths[keeper])
    vault = Vault.open(layout, master_key)
    stack.callback(vault.close)
    is_locked = Lockdown.open(vault.database, vault.keys).state.locked
    keys_made = vault.database.run_now(times_of_keys)

    def check(recovery: Recovery) -> None:
        rollback.demand_newest(
            layout, vault.state.anchor, recovery, remembered, keys_made=keys_made, is_locked=is_locked, alive=alive
        )
        # What the witnesses are compared with is the newest checkpoint: first, that it is one.
        demand_signed_end(layout.ledger)
        asyncio.run(demand_agreement(witnesses or WitnessSettings(), SavedLog(layout.ledger), outside))

    recorder = await Recorder.open(layout.ledger, check=check, keys=partial(ledger_keys, vault), alive=alive)
    stack.push_async_callback(recorder.close)
    return vault, recorder


async def _make_egress(
    start: Start, stores: Stores, stack: AsyncExitStack
) -> tuple[EgressPipeline, tuple[Opening, ...], GuardedPost]:
    settings, limits = start.environment, start.operator_file.egress
    resolver: Resolver = SystemResolver() if settings.dns is None else DnsResolver(settings.dns)
    own = OwnAddresses(changes=stack.enter_context(AddressChanges.subscribe()))
    openings = await open_hosts(
        settings.egress_open,
        resolver,
        own,
        start.listener_ports,
        in_container=listening.is_in_container(start.listen),
    )
    guard = Guard(own, pinned(openings), start.listener_ports, socket.gethostname())
    quotas, web_budget = QuotaBook(), WebBudget(limits.web_per_run, limits.web_per_day)
    await count_spent(stores.recorder, utc_day(), quotas, web_budget)
    client = HttpClient(make_trust(settings.ca_file))
    stack.callback(client.close)
    costly = CostlyWork()
    stack.callback(costly.close)
    pipeline = EgressPipeline(
        lockdown=stores.lockdown,
        vault=stores.vault,
        rules=stores.rules,
        approvals=stores.approvals,
        recorder=stores.recorder,
        secrets=StoredSecrets(stores.vault, REQUEST_CHARACTERS),
        resolver=resolver,
        guard=guard,
        client=client,
        quotas=quotas,
        web_budget=web_budget,
        open_calls=OpenCalls(limits.requests_per_run, limits.requests_per_host),
        costly=costly,
    )
    return pipeline, openings, GuardedPost(resolver, guard, client)


async def _record_start(start: Start, recorder: Recorder, vault: Vault, openings: tuple[Opening, ...]) -> None:
    await recorder.fact(
        Event.PROXY_STARTED,
        outcome="ok",
        details={
            "version": __version__,
            "mode": "listen" if start.control is None else "channels",
            "key_id": vault.keys.kid,
            **vault.state.anchor_details(),
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
    if start.listen is not None and start.control is None:
        await server.listen(listening.bind(start.listen))
    async with asyncio.TaskGroup() as tasks:
        channels = None if start.control is None else tasks.create_task(_serve_channels(start.control, server, stop))
        start.readiness.ready()
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
