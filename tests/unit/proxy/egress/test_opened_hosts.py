from __future__ import annotations

import pytest
from egress_house import KnownOwnAddresses, ListedResolver

from mycelos.configuration.environment import ConfigurationError, OpenedHost
from mycelos.proxy.egress.opened_hosts import open_hosts, pinned
from mycelos.proxy.egress.resolve import fail
from mycelos.proxy.egress.url import parse_url

pytestmark = pytest.mark.anyio
OWN = KnownOwnAddresses("127.0.0.1", "192.168.1.5")


async def test_an_entry_is_resolved_once_and_pinned() -> None:
    resolver = ListedResolver({"ollama.lan": [["192.168.1.9", "192.168.1.10"]]})
    entries = (OpenedHost("ollama.lan", 11434), OpenedHost("127.0.0.1", 8080), OpenedHost("::1", 8080))
    openings = await open_hosts(entries, resolver, OWN, frozenset({9100}))
    opened = pinned(openings)
    assert list(map(str, sorted(opened.find(parse_url("http://ollama.lan:11434/")) or ()))) == [
        "192.168.1.9",
        "192.168.1.10",
    ]
    assert opened.find(parse_url("http://[::1]:8080/")) is not None
    assert opened.find(parse_url("http://ollama.lan/")) is None
    assert resolver.asked == ["ollama.lan"]


async def test_a_name_that_does_not_resolve_stays_closed_and_says_why() -> None:
    class Silent(ListedResolver):
        async def resolve(self, name: str, *, local: bool = False) -> tuple[object, ...]:
            fail("does not resolve")

    (opening,) = await open_hosts((OpenedHost("ollama.lan", 1),), Silent(), OWN, frozenset())
    assert opening.addresses == ()
    assert opening.reason
    assert pinned((opening,)).find(parse_url("http://ollama.lan:1/")) is None


@pytest.mark.parametrize(
    "entry",
    [
        OpenedHost("169.254.169.254", 80), OpenedHost("fe80::1", 80), OpenedHost("100.100.100.200", 80),
        OpenedHost("127.0.0.1", 9100), OpenedHost("192.168.1.5", 9100), OpenedHost("bad.lan", 80),
        OpenedHost("0177.0.0.1", 80), OpenedHost("10.1", 80), OpenedHost("a_b", 80),
    ],
)  # fmt: skip
async def test_what_can_never_be_opened_stops_the_start(entry: OpenedHost) -> None:
    resolver = ListedResolver({"bad.lan": [["192.168.1.9", "169.254.0.1"]]})
    with pytest.raises(ConfigurationError, match="MYCELOS_EGRESS_OPEN"):
        await open_hosts((entry,), resolver, OWN, frozenset({9100}))


@pytest.mark.parametrize("entry", [OpenedHost("127.0.0.1", 8080), OpenedHost("::1", 8080), OpenedHost("box.lan", 8080)])
async def test_in_a_container_a_loopback_entry_stops_the_start_and_names_the_host(entry: OpenedHost) -> None:
    resolver = ListedResolver({"box.lan": [["127.0.0.1"]]})
    with pytest.raises(ConfigurationError, match=r"host\.docker\.internal:8080"):
        await open_hosts((entry,), resolver, OWN, frozenset(), in_container=True)
    lan = await open_hosts((OpenedHost("192.168.1.9", 80),), resolver, OWN, frozenset(), in_container=True)
    assert lan[0].addresses
