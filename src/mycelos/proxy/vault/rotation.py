"""A new master key: a new slot with a new root, everything wrapped anew, nothing sealed anew, the old slot gone.

The order of what is written, each durable before the next: `.master_key.next`; one transaction, which is checked with
the key as it lies on the disk before it commits; the log emptied into the file, so that no old wrap lies about in it;
the rename over `.master_key`. Until the commit the old key opens the vault, from the commit on the new one does, and
`mycelos.proxy.vault.next_key` says at the next start which it is. There is no moment with none, and none with two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.tables import KEY_SLOTS
from mycelos.proxy.vault import hazmat, next_key, records, slots
from mycelos.proxy.vault.envelope import KEY_LENGTH, Randomness, SlotKeys
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError
from mycelos.proxy.vault.keys import read_master_key
from mycelos.proxy.vault.long_lived_keys import HeldKeys, demand_keys, read_keys, rewrap_keys
from mycelos.proxy.vault.records import Contents, Credential
from mycelos.proxy.vault.signed_rows import AlteredRowError, SignedRows
from mycelos.proxy.vault.slots import Clock, system_clock
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import ProblemCode, Refusal

_SOUND: Final = "Put back a copy of the data folder that is sound."


@dataclass(frozen=True)
class Rotated:
    """The ids of the slots before and after, and how much of each kind is under the new one.

    ``is_unfinished`` says that the new key could not be put into the master key's place and waits beside it.
    """

    previous_kid: str
    kid: str
    records: int
    keys: int
    rows: int
    is_unfinished: bool = False


@dataclass(frozen=True)
class _Done:
    rotated: Rotated
    contents: Contents
    held: HeldKeys


class MasterKeyRotation:
    """``signed`` names every table whose rows stand under a MAC alone: the vault does not know them all."""

    def __init__(
        self,
        vault: Vault,
        layout: DataLayout,
        signed: Sequence[SignedRows],
        *,
        clock: Clock = system_clock,
        randomness: Randomness = os.urandom,
    ) -> None:
        self._vault = vault
        self._layout = layout
        self._signed = signed
        self._clock = clock
        self._randomness = randomness

    def run(self) -> Rotated:
        """Change the master key; on the database's thread, so that nothing comes between.

        Raises:
            Refusal: `vault_unavailable`; the old key holds on.
        """
        try:
            next_key.settle(self._layout, self._vault.database, None)
            next_key.demand_replaceable(self._layout)
            self._demand_own_key()
            key = bytearray(self._randomness(KEY_LENGTH))
            try:
                next_key.write_next_key(self._layout, key)
                done = self._change(key)
            finally:
                key[:] = bytes(len(key))
        except OSError as error:
            refused = f"The disk refused ({os.strerror(error.errno or 0)}); nothing was changed."
            raise self._refusal(refused) from None
        except VaultError as error:
            raise Refusal(ProblemCode.VAULT_UNAVAILABLE, error.detail, error.next_step) from None
        self._vault.adopt(done.contents, done.held)
        try:
            self._vault.database.checkpoint()
            next_key.swap(self._layout)
        except (OSError, Refusal):
            # What is done is done: the vault has its new key, and the next start or rotation puts it into its place.
            return replace(done.rotated, is_unfinished=True)
        return done.rotated

    def _demand_own_key(self) -> None:
        """What is about to be replaced must be this vault's key, and no other that somebody has put there since."""
        present = read_master_key(self._layout.master_key)
        if not self._vault.database.transact(lambda connection: slots.opens(connection, present)):
            raise VaultError(
                detail=f"{self._layout.master_key} does not hold the key of this vault; nothing was changed.",
                next_step="Put the key of this vault back first: it would be replaced.",
            )

    def _change(self, key: bytearray) -> _Done:
        old = self._vault.keys.slot
        try:
            return self._vault.database.transact(lambda connection: self._work(connection, old, key))
        except BaseException:
            self._vault.keys.replace(old)
            # Where the disk refuses this too, the next start or the next rotation settles it.
            with suppress(OSError, Refusal, VaultError):
                next_key.settle(self._layout, self._vault.database, None)
            raise

    def _work(self, connection: sa.Connection, old: SlotKeys, key: bytearray) -> _Done:
        # A row that still names the old slot at the end, of whatever table, is refused by the commit.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        contents = _demand_sound(records.read_records(connection, old))
        new = slots.insert_slot(connection, key, self._clock, self._randomness)
        try:
            records.rewrap_records(connection, contents, new, self._randomness)
            count = rewrap_keys(connection, old, new, self._randomness)
            rows = sum(signed.rewrite(connection, old, new) for signed in self._signed)
            connection.execute(KEY_SLOTS.delete().where(KEY_SLOTS.c.kid == old.kid))
            opened, held = self._verify(connection, new.kid, contents)
        except (SealBrokenError, AlteredRowError) as error:
            where = f": {error}" if isinstance(error, AlteredRowError) else ""
            raise Refusal(
                ProblemCode.VAULT_UNAVAILABLE,
                f"Something in the vault was altered outside Mycelos{where}; the master key is as it was.",
                _SOUND,
            ) from None
        # Before the commit, for whatever else writes inside this transaction.
        self._vault.keys.replace(opened.keys)
        return _Done(Rotated(old.kid, new.kid, len(contents.records), count, rows), opened, held)

    def _verify(self, connection: sa.Connection, kid: str, before: Contents) -> tuple[Contents, HeldKeys]:
        """Open everything with the key as it lies on the disk.

        Raises:
            SealBrokenError, AlteredRowError: something does not open, or is not what it was.
        """
        slot = slots.demand_only_slot(connection, kid, read_master_key(self._layout.master_key_next))
        contents = records.read_records(connection, slot)
        if contents.damaged or _described(contents) != _described(before):
            raise SealBrokenError
        for stored in contents.records.values():
            hazmat.open_record(slot, stored.sealed).destroy()
        demand_keys(connection, slot)
        for signed in self._signed:
            signed.demand(connection, slot)
        return contents, read_keys(connection, slot)

    def _refusal(self, detail: str) -> Refusal:
        return Refusal(
            ProblemCode.VAULT_UNAVAILABLE,
            detail,
            f"Check free space and the rights of {self._layout.root}, then try again; the next start settles what is "
            "left over.",
        )


def _demand_sound(contents: Contents) -> Contents:
    if contents.damaged:
        names = sorted(contents.damaged)
        raise Refusal(
            ProblemCode.VAULT_UNAVAILABLE,
            f"The records of {', '.join(names)} were altered outside Mycelos; the master key is as it was.",
            f"Delete each, then try again: mycelos credential delete {names[0]}",
        )
    return contents


def _described(contents: Contents) -> dict[str, Credential]:
    return {service: stored.credential for service, stored in contents.records.items()}
