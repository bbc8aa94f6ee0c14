"""Vault and ledger of a system that does not run, opened by a command in the proxy's place, under the same locks."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mycelos.proxy import rollback
from mycelos.proxy.database import Database
from mycelos.proxy.key_rotation import Keys, source_of
from mycelos.proxy.main import open_stores
from mycelos.proxy.operator_door.recorded import RecordedChange
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.key_status import read_key_status
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.next_key import settle_at_start
from mycelos.wire.keys import KeyStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mycelos.configuration.layout import DataLayout


@asynccontextmanager
async def stopped_keys(layout: DataLayout, from_environment: bytes | None) -> AsyncIterator[Keys]:
    """The keys of the system that does not run in ``layout``.

    Raises:
        VaultError: there is no vault, it is open elsewhere, or not as it must be; nothing is written.
        LedgerError: the ledger is not as it must be.
        Refusal: `vault_unavailable`.
    """
    _demand_vault(layout)
    settle_at_start(layout, from_environment)
    async with AsyncExitStack() as stack:
        vault, recorder = await open_stores(layout, load_master_key(layout, from_environment), stack, os.environ)
        change = RecordedChange(recorder, _nobody_waits, vault.state.anchor_details)
        yield Keys(vault, recorder, change, layout, source_of(from_environment))


def stopped_status(layout: DataLayout, from_environment: bytes | None) -> KeyStatus:
    """What is known of the keys of the system that does not run in ``layout``; no key is asked for.

    Raises:
        VaultError: there is no vault, it is open elsewhere, or not as it must be; nothing is written.
    """
    _demand_vault(layout)
    return Database.look(
        layout.vault, lambda connection: read_key_status(connection, layout, source_of(from_environment))
    )


def _demand_vault(layout: DataLayout) -> None:
    rollback.demand_vault(layout)
    if not layout.vault.exists():
        raise VaultError(
            detail=f"There is no vault in {layout.proxy}.", next_step="It is made at the first start: mycelos serve"
        )


def _nobody_waits() -> None:
    """Nothing is on its way in a system that does not run."""
