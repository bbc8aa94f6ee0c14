"""``mycelos egress check``: the guard's word on URLs, from the same settings as the proxy's, without connecting."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

from mycelos.cli.operator_command import wrong_usage
from mycelos.cli.output import ExitCode, print_json, print_json_line, say
from mycelos.configuration.environment import ConfigurationError, Environment
from mycelos.proxy.egress.check import check_url
from mycelos.proxy.egress.guard import Blocked, Guard
from mycelos.proxy.egress.opened_hosts import open_hosts, pinned
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.resolve import DnsResolver, Resolver, SystemResolver
from mycelos.proxy.egress.url import UrlError, parse_url
from mycelos.wire.problems import ProblemCode, joined

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


def refused_anyway(origin: str, settings: Environment) -> str | None:
    """Why the guard lets nothing through to this origin whatever is allowed, with what to do; None where it may.

    A name is not resolved: the guard judges its addresses at each request.
    """

    async def judge() -> str | None:
        guard = await _guard(settings, SystemResolver())
        try:
            guard.judge_host(parse_url(f"{origin}/"))
        except Blocked as blocked:
            return joined(blocked.problem.detail, blocked.problem.next)
        except UrlError as error:
            return str(error)
        return None

    return asyncio.run(judge())


async def _check_all(url: str, *, resolve: bool, as_json: bool, settings: Environment) -> int:
    # Each line asks anew: a verdict is about this moment.
    resolver: Resolver = SystemResolver() if settings.dns is None else DnsResolver(settings.dns, longest_life=0)
    guard = await _guard(settings, resolver)
    if url == _FROM_INPUT:
        for text in _lines(sys.stdin):
            verdict = await check_url(text, guard, resolver if resolve else None)
            print_json_line(verdict)
        return ExitCode.DONE
    verdict = await check_url(url, guard, resolver if resolve else None)
    if as_json:
        print_json(verdict)
    else:
        _print_verdict(verdict)
    if verdict["code"] == ProblemCode.RESOLUTION_FAILED:
        return ExitCode.CANNOT_TELL
    return ExitCode.DONE if verdict["allowed"] else ExitCode.DENIED


async def _guard(settings: Environment, resolver: Resolver) -> Guard:
    own = OwnAddresses()
    ports = frozenset({settings.port, settings.operator_port})
    openings = await open_hosts(settings.egress_open, resolver, own, ports)
    return Guard(own, pinned(openings), ports, socket.gethostname())


def _lines(stream: Iterable[str]) -> Iterable[str]:
    return (line.rstrip("\r\n") for line in stream if line.strip())


def _print_verdict(verdict: dict[str, Any]) -> None:
    word = "allowed" if verdict["allowed"] else f"denied ({verdict['code']})"
    say(f"{verdict['url']}: {word}: {verdict['reason']}")
    if verdict["addresses"]:
        say(f"addresses: {', '.join(verdict['addresses'])}")
