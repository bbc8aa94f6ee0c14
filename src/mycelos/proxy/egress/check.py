"""What the guard says of a URL, without connecting: the logic of `mycelos egress check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mycelos.proxy.egress.guard import Blocked
from mycelos.proxy.egress.url import DEFAULT_PORTS, UrlError, parse_url
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.proxy.egress.guard import Guard
    from mycelos.proxy.egress.resolve import Resolver
    from mycelos.proxy.egress.url import CanonicalUrl, IpAddress

_USUAL_PORTS: Final = frozenset(DEFAULT_PORTS.values())


async def check_url(text: str, guard: Guard, resolver: Resolver | None) -> dict[str, Any]:
    """The verdict ``{url, allowed, code, reason, addresses}``; with a resolver, the name's addresses are judged too.

    ``url`` is the canonical form, or the text as given where there is none.
    """
    try:
        url = parse_url(text)
    except UrlError as error:
        return _verdict(text, ProblemCode.SSRF_BLOCKED, str(error), ())
    addresses: tuple[IpAddress, ...] = ()
    try:
        guard.judge_host(url)
        _demand_named_port(url, guard)
        if url.address is not None:
            addresses = (url.address,)
        elif resolver is not None:
            addresses = await resolver.resolve(url.host, local=guard.is_opened(url))
            guard.judge_addresses(url, addresses)
    except Blocked as blocked:
        return _verdict(str(url), ProblemCode.SSRF_BLOCKED, blocked.reason, addresses)
    except Refusal as refusal:
        return _verdict(str(url), refusal.problem.code, refusal.problem.detail, addresses)
    return _verdict(str(url), None, "public" if addresses else "a public name, not resolved", addresses)


def _demand_named_port(url: CanonicalUrl, guard: Guard) -> None:
    if url.port not in _USUAL_PORTS and not guard.is_opened(url):
        reason = "a port other than 80 and 443, which only a binding, an egress rule or an opened host can name"
        raise Blocked(reason)


def _verdict(url: str, code: ProblemCode | None, reason: str, addresses: tuple[IpAddress, ...]) -> dict[str, Any]:
    return {
        "url": url,
        "allowed": code is None,
        "code": "ok" if code is None else code.value,
        "reason": reason,
        "addresses": list(map(str, addresses)),
    }
