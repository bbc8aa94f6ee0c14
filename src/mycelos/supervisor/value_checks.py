"""What a zone would refuse at its start, asked of the zone's own code before any process is started.

Each zone is imported only where its variable is set: a plain start pays for none of this.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import OperatorFile
from mycelos.configuration.witness import VKEY_KEY, witness_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.configuration.environment import Environment, OpenedHost


def check_values(settings: Environment, *, resolve: bool) -> None:
    """Check password, extra roots, opened hosts and witness as gateway and proxy do.

    Args:
        settings: the environment, each value already in form.
        resolve: whether opened names are resolved too, which may take the resolver's time; else addresses only.

    Raises:
        ConfigurationError: a zone would not start with it; the text is the zone's own.
    """
    if settings.password is not None or settings.password_hash is not None:
        from mycelos.gateway.identity.passwords import check_configured  # noqa: PLC0415

        check_configured(settings.password, settings.password_hash)
    if settings.ca_file is not None:
        from mycelos.proxy.egress.dial import make_trust  # noqa: PLC0415

        make_trust(settings.ca_file)
    if settings.witness is not None:
        # Against the defaults: operator.toml is the proxy's to read, and `mycelos config check` reads it too.
        check_witness(settings, OperatorFile(), DataLayout(settings.data_directory))
    entries = [entry for entry in settings.egress_open if resolve or _is_address(entry.host)]
    if entries:
        _check_openings(entries, settings)


def check_witness(settings: Environment, operator_file: OperatorFile, layout: DataLayout) -> None:
    """Check who is given the ledger's checkpoints, as the proxy does at its start.

    Raises:
        ConfigurationError: file, URL or key cannot be used.
    """
    found = witness_settings(settings, operator_file, layout)
    if found.url is not None:
        # Only who has one pays for reading its parser.
        from mycelos.proxy.witness.url_witness import parse_witness  # noqa: PLC0415

        parse_witness(found.url, found.url_name, found.key, VKEY_KEY)


def _check_openings(entries: Sequence[OpenedHost], settings: Environment) -> None:
    import asyncio  # noqa: PLC0415

    from mycelos.proxy.egress.opened_hosts import open_hosts  # noqa: PLC0415
    from mycelos.proxy.egress.own_addresses import OwnAddresses  # noqa: PLC0415
    from mycelos.proxy.egress.resolve import DnsResolver, SystemResolver  # noqa: PLC0415
    from mycelos.wire.problems import Refusal, joined  # noqa: PLC0415

    resolver = SystemResolver() if settings.dns is None else DnsResolver(settings.dns)
    ports = frozenset({settings.port, settings.operator_port})
    try:
        asyncio.run(open_hosts(entries, resolver, OwnAddresses(), ports))
    except Refusal as refusal:
        raise ConfigurationError(joined(refusal.problem.detail, refusal.problem.next)) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
