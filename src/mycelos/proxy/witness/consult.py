"""Does each witness agree with this ledger? For `mycelos db audit verify`, whether the system runs or not.

Asking a witness with a URL means to submit the present checkpoint: it says yes by cosigning it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mycelos.configuration.witness import VKEY_KEY
from mycelos.proxy.egress.dial import make_trust
from mycelos.proxy.egress.guard import Guard
from mycelos.proxy.egress.http_client import HttpClient
from mycelos.proxy.egress.opened_hosts import open_hosts, pinned
from mycelos.proxy.egress.own_addresses import OwnAddresses
from mycelos.proxy.egress.post import GuardedPost
from mycelos.proxy.egress.resolve import DnsResolver, SystemResolver
from mycelos.proxy.witness.log import DISAGREEMENTS, WitnessFault, demand_prefix
from mycelos.proxy.witness.remembered import COSIGNED, WITNESS_FILE
from mycelos.proxy.witness.url_witness import Post, Taken, UrlWitness, known_size, parse_witness

if TYPE_CHECKING:
    from mycelos.configuration.environment import Environment
    from mycelos.configuration.witness import WitnessSettings
    from mycelos.ledger.cosignature import CosignerKey
    from mycelos.proxy.egress.url import CanonicalUrl
    from mycelos.proxy.witness.log import LogView
    from mycelos.proxy.witness.remembered import Witnessed


@dataclass(frozen=True)
class Word:
    """A witness's word on this ledger. ``agrees`` is None where it could not be asked, and ``reason`` says why.

    ``size`` is how many entries it remembers, where it says so.
    """

    witness: str
    agrees: bool | None
    reason: str
    size: int | None


class _Fixed:
    """The log up to one checkpoint of it, whatever is written meanwhile."""

    def __init__(self, log: LogView, note: str) -> None:
        self._log = log
        self.checkpoint: str | None = note

    async def consistency(self, old: int, new: int) -> list[bytes]:
        return await self._log.consistency(old, new)


async def consult(
    settings: WitnessSettings, before: Witnessed, log: LogView, walked: str, post: Post
) -> tuple[Word, ...]:
    """Ask each witness that is set. One that remembers nothing yet has no word.

    Args:
        settings: who is asked.
        before: what `mycelos.proxy.witness.remembered.witnessed` found before the ledger was walked.
        log: the ledger; its checkpoint may move on while this runs.
        walked: the checkpoint up to which every entry was walked and found sound. What a witness agrees to must
            begin with it: else the ledger that was walked and the one that is shown to the witness are two.
        post: the way out.

    Raises:
        ConfigurationError: the witness's URL or key cannot be used.
    """
    words = []
    if before.older:
        words.append(await _file(before, _Fixed(log, walked)))
    if settings.url is not None:
        url, key = parse_witness(settings.url, settings.url_name, settings.key, VKEY_KEY)
        known = known_size(before.notes.get(COSIGNED), key)
        words.append(await _url(url, key, log, walked, post, known=known))
    return tuple(words)


async def post_of(environment: Environment) -> GuardedPost:
    """The way out for a process that is not the proxy, with the proxy's own guard and settings.

    Raises:
        ConfigurationError: a host that can never be opened, or roots that cannot be read.
    """
    resolver = SystemResolver() if environment.dns is None else DnsResolver(environment.dns)
    own, ports = OwnAddresses(), frozenset({environment.port, environment.operator_port})
    openings = await open_hosts(environment.egress_open, resolver, own, ports)
    guard = Guard(own, pinned(openings), ports, socket.gethostname())
    return GuardedPost(resolver, guard, HttpClient(make_trust(environment.ca_file)))


async def _file(before: Witnessed, log: LogView) -> Word:
    try:
        for note in before.older:
            await demand_prefix(log, note)
    except WitnessFault as fault:
        # A file is this ledger's alone: also what is of another log speaks against it.
        return Word(WITNESS_FILE, False, str(fault), fault.size)
    return Word(WITNESS_FILE, True, f"the ledger begins with each of {len(before.older)} older checkpoints in it", None)


async def _url(
    url: CanonicalUrl, key: CosignerKey | None, log: LogView, walked: str, post: Post, *, known: int
) -> Word:
    name = f"the witness at {url}"
    taken: list[Taken] = []

    async def keep(what: Taken) -> None:
        taken.append(what)

    try:
        await UrlWitness(url, key, log, post, keep, known=known).give()
        for what in taken:
            await demand_prefix(_Fixed(log, str(what.note)), walked.encode())
    except WitnessFault as fault:
        return Word(name, False if fault.code in DISAGREEMENTS else None, str(fault), fault.size)
    if not taken:
        return Word(name, None, "the ledger has no checkpoint", None)
    if key is None and url.scheme != "https":
        return Word(name, None, f"anybody can answer for it: set {VKEY_KEY}, or https", None)
    return Word(name, True, f"it has cosigned {taken[-1].size} entries", taken[-1].size)
