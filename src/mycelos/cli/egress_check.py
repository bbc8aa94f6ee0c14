"""``mycelos egress check``: the guard's word on URLs, from the same settings as the proxy's, without connecting."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

from mycelos.cli.operator_command import wrong_usage
from mycelos.cli.output import ExitCode, plain, print_json
from mycelos.configuration.environment import ConfigurationError, Environment
from mycelos.proxy.egress.check import check_url
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.opened_hosts import open_hosts, pinned
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.resolve import DnsResolver, Resolver, SystemResolver

_FROM_INPUT: Final = "-"


def check_all(url: str, *, resolve: bool, as_json: bool, settings: Environment) -> int:
    """Judge one URL, or with ``-`` each line of standard input at once; the exit code.

    Raises:
        CommandError: MYCELOS_EGRESS_OPEN has an entry that can never be opened.
    """
    try:
        return asyncio.run(_check_all(url, resolve=resolve, as_json=as_json, settings=settings))
    except ConfigurationError as error:
        raise wrong_usage(detail=str(error)) from None


async def _check_all(url: str, *, resolve: bool, as_json: bool, settings: Environment) -> int:
    resolver: Resolver = SystemResolver() if settings.dns is None else DnsResolver(settings.dns)
    own = OwnAddresses()
    ports = frozenset({settings.port, settings.operator_port})
    openings = await open_hosts(settings.egress_open, resolver, own, ports)
    guard = Guard(own, pinned(openings), ports, socket.gethostname())
    if url == _FROM_INPUT:
        for text in _lines(sys.stdin):
            verdict = await check_url(text, guard, resolver if resolve else None)
            print(json.dumps(verdict), flush=True)
        return ExitCode.DONE
    verdict = await check_url(url, guard, resolver if resolve else None)
    if as_json:
        print_json(verdict)
    else:
        _print_verdict(verdict)
    return ExitCode.DONE if verdict["allowed"] else ExitCode.DENIED


def _lines(stream: Iterable[str]) -> Iterable[str]:
    return (line.rstrip("\r\n") for line in stream if line.strip())


def _print_verdict(verdict: dict[str, Any]) -> None:
    word = "allowed" if verdict["allowed"] else f"denied ({verdict['code']})"
    print(plain(f"{verdict['url']}: {word}: {verdict['reason']}"))
    if verdict["addresses"]:
        print(f"addresses: {', '.join(verdict['addresses'])}")
