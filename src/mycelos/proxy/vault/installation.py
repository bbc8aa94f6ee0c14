"""The opening of a vault as one transaction, and the name by which heads outside of the data folder know it.

The name is drawn at random when a vault is made, and anew when a copy is adopted on purpose: what was remembered before
then speaks of another installation.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from mycelos.configuration.plain_file import demand_plain_database
from mycelos.proxy.operator_settings import OperatorSettings, Setting
from mycelos.proxy.vault import slots
from mycelos.proxy.vault.current_keys import CurrentKeys
from mycelos.proxy.vault.envelope import Randomness
from mycelos.proxy.vault.slots import Clock
from mycelos.proxy.vault.state import VaultState

NAME_LENGTH: Final = 32
"""Lower-case hex digits."""
_HEX: Final = frozenset("0123456789abcdef")
_SELECT: Final = "SELECT value FROM operator_settings WHERE name = ?"
_BUSY_TIMEOUT: Final = 5.0


def open_state(
    connection: sa.Connection, master_key: bytes, clock: Clock, randomness: Randomness, *, adopt: bool
) -> VaultState:
    """The state of the vault under the keys that ``master_key`` opens; in an empty one, both are made.

    Raises:
        VaultError: the key fits no slot, or the rows are not those of the state; the transaction must not be kept.
    """
    is_new = slots.is_empty(connection)
    keys = CurrentKeys(slots.open_or_make(connection, master_key, clock, randomness))
    if is_new or adopt:
        name_installation(connection, keys, clock, randomness)
    return VaultState.open(connection, keys, is_new=is_new, adopt=adopt)


def name_installation(connection: sa.Connection, keys: CurrentKeys, clock: Clock, randomness: Randomness) -> None:
    """Give the installation a new name."""
    OperatorSettings(keys, clock).write(connection, Setting.INSTALLATION, randomness(NAME_LENGTH // 2).hex())


def installation_of(path: Path) -> str | None:
    """The name in the vault at ``path``, read without a key: enough to find what is remembered of it.

    None where there is none, or the file cannot be read. Whoever has changed it there is found at the next start.
    """
    try:
        demand_plain_database(path)
        # What another process has open is read as it stands; nothing is made where there is no file.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT)
    except (OSError, sqlite3.Error):
        return None
    try:
        row = connection.execute(_SELECT, (Setting.INSTALLATION.value,)).fetchone()
    except sqlite3.Error:
        return None
    finally:
        connection.close()
    name = row[0] if row else None
    # It becomes the name of a folder.
    return name if isinstance(name, str) and len(name) == NAME_LENGTH and set(name) <= _HEX else None
