"""What an operator does with keys, on record: the same in the running proxy and in a command beside a stopped one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.events import Event
from mycelos.ledger.key_change import KeyChange
from mycelos.proxy.egress.rules import SIGNED_RULES
from mycelos.proxy.ledger.keys import LedgerKeys
from mycelos.proxy.operator_settings import SIGNED_SETTINGS
from mycelos.proxy.passkeys.store import SIGNED_PASSKEYS
from mycelos.proxy.vault import signing
from mycelos.proxy.vault.hazmat import SealBrokenError
from mycelos.proxy.vault.key_status import read_key_status
from mycelos.proxy.vault.rotation import MasterKeyRotation
from mycelos.wire.keys import (
    LEDGER_MAC_KEY,
    LEDGER_SIGNING_KEY,
    MASTER_KEY,
    SIGNING_KEYS,
    KeyRotated,
    KeySource,
    KeyStatus,
)
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.operator_door.recorded import RecordedChange
    from mycelos.proxy.vault.envelope import WrappedKey
    from mycelos.proxy.vault.store import Vault

SIGNED: Final = (SIGNED_RULES, SIGNED_SETTINGS, SIGNED_PASSKEYS)
"""Every table whose rows stand under a MAC alone. One that is missing here lets no rotation commit."""


def source_of(from_environment: bytes | None) -> KeySource:
    """Where the master key comes from, given what the environment holds."""
    return KeySource.FILE if from_environment is None else KeySource.ENVIRONMENT


def ledger_keys(vault: Vault) -> LedgerKeys:
    """What the ledger works with, made at the first use.

    The key that signs is held open as long as the ledger uses it: a signature goes into each group of entries.

    Raises:
        VaultError: a key does not open.
    """
    signer = signing.Signer(vault.wrapped_key(LEDGER_SIGNING_KEY))
    with vault.wrapped_key(LEDGER_MAC_KEY) as mac_key:
        return LedgerKeys(
            mac_key=mac_key.reveal(),
            key_id=vault.long_lived.in_use(LEDGER_SIGNING_KEY).key_id,
            public_key=signer.public_key,
            sign=signer.sign,
        )


class Keys:
    """The keys of one installation."""

    def __init__(
        self, vault: Vault, recorder: Recorder, change: RecordedChange, layout: DataLayout, source: KeySource
    ) -> None:
        self._vault = vault
        self._recorder = recorder
        self._change = change
        self._layout = layout
        self._source = source

    async def status(self) -> KeyStatus:
        """What is known of the keys without opening any.

        Raises:
            Refusal: `vault_unavailable`.
        """
        return await self._vault.database.run(
            lambda connection: read_key_status(connection, self._layout, self._source)
        )

    async def rotate_master(self) -> KeyRotated:
        """Change the master key.

        Raises:
            Refusal: `conflict` where it lies in the environment, `audit_unavailable`, `vault_unavailable`.
        """
        if self._source is KeySource.ENVIRONMENT:
            raise Refusal(
                ProblemCode.CONFLICT,
                "The master key comes from the environment (MYCELOS_MASTER_KEY or MYCELOS_MASTER_KEY_FILE), where "
                "Mycelos cannot change it.",
                f"Put it into {self._layout.master_key} (mode 0600), take the variable out of the environment, start "
                "again, and then: mycelos key rotate",
            )
        rotation = MasterKeyRotation(self._vault, self._layout, SIGNED)

        async def rotate() -> KeyRotated:
            done = await self._vault.database.alone(rotation.run)
            return KeyRotated(
                name=MASTER_KEY,
                previous_key_id=done.previous_kid,
                key_id=done.kid,
                records=done.records,
                keys=done.keys,
                rows=done.rows,
                is_unfinished=done.is_unfinished,
            )

        before = {"name": MASTER_KEY, "previous_key_id": self._vault.keys.kid}
        return await self._change(Event.KEY_ROTATED, MASTER_KEY, before, rotate)

    async def rotate_named(self, name: str) -> KeyRotated:
        """Change one long-lived key: the old one is retired, that of signatures destroyed.

        Raises:
            Refusal: `conflict`, `audit_unavailable`, `vault_unavailable`.
        """
        old, new = self._vault.long_lived.in_use(name), self._vault.long_lived.make(name)
        try:
            details = self._announce(old, new)
        except SealBrokenError:
            raise Refusal(
                ProblemCode.CONFLICT, f"The key {name} does not open any more.", "Try again; see: mycelos key status"
            ) from None

        async def rotate() -> KeyRotated:
            await self._vault.long_lived.replace(old, new)
            self._recorder.use(ledger_keys(self._vault))
            return KeyRotated(name=name, previous_key_id=old.key_id, key_id=new.key_id, records=0, keys=1, rows=0)

        return await self._change(Event.KEY_ROTATED, name, details, rotate)

    def _announce(self, old: WrappedKey, new: WrappedKey) -> dict[str, Any]:
        """What the record says before the change: of a signing key, the statement that both keys sign."""
        if old.name not in SIGNING_KEYS:
            return {"name": old.name, "previous_key_id": old.key_id, "key_id": new.key_id}
        slot = self._vault.keys.slot
        change = KeyChange(
            name=old.name,
            previous_key_id=old.key_id,
            previous_public_key=signing.public_key(slot, old).hex(),
            key_id=new.key_id,
            public_key=signing.public_key(slot, new).hex(),
        )
        statement = change.statement()
        return change.details(signing.sign(slot, old, statement), signing.sign(slot, new, statement))
