"""The vault: what is stored, opened for one use at a time, and changed by the operator's door alone.

Metadata and sealed records are kept in memory, so that looking one up waits for no disk; plaintext is not kept
anywhere. The file is locked against a second writer, so memory and file cannot drift apart.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database
from mycelos.proxy.vault import envelope, hazmat, records, slots
from mycelos.proxy.vault.demands import broken, demand_confirmed, demand_form, demand_injectable
from mycelos.proxy.vault.envelope import Randomness, SlotKeys
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError, Secret
from mycelos.proxy.vault.installation import open_state
from mycelos.proxy.vault.long_lived_keys import HeldKeys, LongLivedKeys, read_keys
from mycelos.proxy.vault.records import Contents, Credential, Stored
from mycelos.proxy.vault.slots import Clock, new_identifier, system_clock, timestamp
from mycelos.proxy.vault.state import VaultState
from mycelos.wire.binding import Binding
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.operator import resembles
from mycelos.wire.problems import ProblemCode, Refusal

# The class below has a method called list.
_Secrets = list[Secret]

Check = Callable[[Contents, HeldKeys], None]
"""Sees a vault that is being opened, and raises to leave it as it was."""

_TOUCH_SECONDS: Final = 60.0


class Vault:
    """Credentials of one installation. Made by `Vault.open`."""

    def __init__(self, database: Database, state: VaultState, clock: Clock, randomness: Randomness) -> None:
        self.database = database
        self.state = state
        self.keys = state.keys
        self.long_lived = LongLivedKeys(database, self.keys, clock, randomness)
        self._clock = clock
        self._randomness = randomness
        self._contents = Contents(self.keys.slot)
        self._used: dict[str, str] = {}
        self._used_on_disk: dict[str, str] = {}
        self._used_written = time.monotonic()

    @classmethod
    def open(
        cls,
        layout: DataLayout,
        master_key: bytes,
        *,
        clock: Clock = system_clock,
        randomness: Randomness = os.urandom,
        adopt: bool = False,
        check: Check | None = None,
    ) -> Vault:
        """Open the vault below ``layout``, or make an empty one.

        ``adopt`` takes the rows that are there for its state: for the command that accepts a copy on purpose.
        ``check`` sees what the vault holds before anything of the opening is kept; what it raises ends it.

        Raises:
            VaultError: the key does not fit, the file is not as it must be, a row was altered, removed or put back,
                or another process has it open. An existing file is as it was.
        """
        database = Database.open(layout.vault, lambda connection: slots.demand_fitting_key(connection, master_key))
        try:

            def work(connection: sa.Connection) -> tuple[VaultState, Contents, HeldKeys]:
                state = open_state(connection, master_key, clock, randomness, adopt=adopt)
                contents, held = _read(connection, state.keys.slot)
                if check is not None:
                    check(contents, held)
                return state, contents, held

            state, contents, held = database.run_now(work)
            database.watch(state)
            vault = cls(database, state, clock, randomness)
            vault.adopt(contents, held)
        except Refusal as refusal:
            database.close()
            raise VaultError(detail=refusal.problem.detail, next_step=refusal.problem.next) from None
        except BaseException:
            database.close()
            raise
        return vault

    def close(self) -> None:
        """Write what is pending and close the file.

        Raises:
            Refusal: `vault_unavailable`; the times of last use could not be written. The file is closed.
        """
        try:
            self.database.run_now(self._write_used)
        finally:
            self.database.close()

    def find(self, service: str) -> Credential | None:
        """The credential of ``service``, or None.

        Raises:
            Refusal: `vault_unavailable`; there is one, but its record was altered outside Mycelos.
                `credential_unknown`; there is one that is parked.
        """
        contents = self._contents
        if service in contents.damaged:
            raise broken(service)
        stored = contents.records.get(service)
        if stored is None:
            return None
        demand_confirmed(stored.credential)
        return self._with_use(stored.credential)

    def list(self) -> list[Credential]:
        """Every credential whose record verifies, by service."""
        return [self._with_use(stored.credential) for _, stored in sorted(self._contents.records.items())]

    def damaged(self) -> tuple[str, ...]:
        """The services whose records were altered outside Mycelos. They can be deleted, not used."""
        return tuple(sorted(self._contents.damaged))

    @contextmanager
    def open_secret(self, credential: Credential) -> Iterator[Secret]:
        """The secret of exactly this version of ``credential``, for the length of the block.

        Raises:
            Refusal: `credential_unknown` when it was changed or deleted since it was looked up, or is parked,
                `vault_unavailable` when its record does not open.
        """
        contents = self._contents
        stored = contents.records.get(credential.service)
        if stored is None or (stored.credential.id, stored.credential.version) != (credential.id, credential.version):
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"The credential {credential.service} was changed or deleted while this request was on its way.",
                "Send the request again.",
            )
        demand_confirmed(stored.credential)
        with _open(contents, [stored]) as (secret,):
            yield secret

    @contextmanager
    def secrets_for_host(self, host: str) -> Iterator[_Secrets]:
        """The secret of every credential bound to this host, at whatever port: what no answer from there may hold.

        Raises:
            Refusal: `vault_unavailable`; one of them does not open, so that nothing could be scrubbed for it.
        """
        contents = self._contents
        bound = [
            stored
            for stored in contents.records.values()
            if any(binding.host == host for binding in stored.credential.bindings)
        ]
        with _open(contents, bound) as secrets:
            yield secrets

    @contextmanager
    def every_secret(self) -> Iterator[_Secrets]:
        """The secret of every credential, of parked ones too: what no text may hold. Nothing is sent with them.

        Raises:
            Refusal: `vault_unavailable`; one of them does not open, so that nothing could be looked for.
        """
        contents = self._contents
        with _open(contents, list(contents.records.values())) as secrets:
            yield secrets

    def touch(self, credential: Credential) -> None:
        """Note that ``credential`` was used now. Written at the next change, at the end, or once a minute."""
        self._used[credential.id] = self._now()
        if time.monotonic() - self._used_written >= _TOUCH_SECONDS:
            self._used_written = time.monotonic()
            self.database.submit(self._write_used, self._used_on_disk.update)

    def wrapped_key(self, name: str) -> Secret:
        """The long-lived 32-byte key called ``name``, made at its first use.

        Raises:
            VaultError: it does not open.
        """
        return self.long_lived.open(name)

    def read(self, connection: sa.Connection) -> tuple[Contents, HeldKeys]:
        """What the file holds under the keys in use."""
        return _read(connection, self.keys.slot)

    def adopt(self, contents: Contents, held: HeldKeys) -> None:
        """Take what was read as what is held. Each is one assignment: whoever reads meanwhile sees before or after."""
        self._contents = contents
        self.long_lived.adopt(held)

    async def store(self, service: str, label: str, bindings: tuple[Binding, ...], secret: str) -> Credential:
        """Store a new credential.

        Raises:
            Refusal: `conflict` for a name that exists or looks like one that does, `invalid_request`,
                `vault_unavailable`.
        """
        demand_form(service=service, label=label, secret=secret)
        demand_injectable(bindings, secret.encode("utf-8"))

        def work(connection: sa.Connection) -> Stored:
            self._demand_free(service)
            sealed = envelope.seal_record(
                self.keys.slot,
                tenant_id=DEFAULT_TENANT,
                record_id=self._identifier(Kind.CREDENTIAL),
                version=1,
                service=service,
                label=label,
                bindings=envelope.canonical_bindings(bindings),
                secret=secret.encode("utf-8"),
                randomness=self._randomness,
            )
            return records.insert_record(connection, self.keys.slot, sealed, self._now())

        return await self._write(service, work)

    async def rotate(self, service: str, secret: str) -> Credential:
        """Put a new secret in the place of the old one, which is removed.

        Raises:
            Refusal: `credential_unknown`, `invalid_request`, `vault_unavailable`.
        """
        demand_form(service=service, secret=secret)

        def work(connection: sa.Connection) -> Stored:
            old = self._demand_known(service)
            demand_injectable(old.credential.bindings, secret.encode("utf-8"))
            sealed = envelope.seal_record(
                self.keys.slot,
                tenant_id=old.sealed.tenant_id,
                record_id=old.sealed.record_id,
                version=old.sealed.version + 1,
                service=service,
                label=old.sealed.label,
                bindings=old.sealed.bindings,
                secret=secret.encode("utf-8"),
                randomness=self._randomness,
            )
            return records.replace_record(connection, self.keys.slot, old.credential, sealed, self._now())

        return await self._write(service, work)

    async def bind(self, service: str, bindings: tuple[Binding, ...], label: str | None = None) -> Credential:
        """Replace the bindings, and the label where one is given.

        Raises:
            Refusal: `credential_unknown`, `invalid_request`, `vault_unavailable`.
        """
        demand_form(service=service, label=label)

        def work(connection: sa.Connection) -> Stored:
            old = self._demand_known(service)
            try:
                sealed = hazmat.reseal(
                    self.keys.slot,
                    old.sealed,
                    label=old.sealed.label if label is None else label,
                    bindings=envelope.canonical_bindings(bindings),
                    check=lambda secret: demand_injectable(bindings, secret),
                    randomness=self._randomness,
                )
            except SealBrokenError:
                raise broken(service) from None
            return records.replace_record(connection, self.keys.slot, old.credential, sealed, self._now())

        return await self._write(service, work)

    async def delete(self, service: str) -> None:
        """Remove a credential; one that was altered outside Mycelos too.

        Raises:
            Refusal: `credential_unknown`, `vault_unavailable`.
        """

        def work(connection: sa.Connection) -> None:
            contents = self._contents
            if service in contents.damaged:
                record_id = contents.damaged[service]
            else:
                record_id = self._demand_known(service).credential.id
            records.delete_record(connection, record_id)

        await self.database.run(work, lambda _: self._remember(service, None))

    async def confirm(self, service: str) -> Credential:
        """Let a parked credential be used again. One that is not parked stays as it is.

        Raises:
            Refusal: `credential_unknown`, `vault_unavailable`.
        """
        demand_form(service=service)

        def work(connection: sa.Connection) -> Stored:
            return records.write_parked(connection, self.keys.slot, self._demand_known(service), None)

        return await self._write(service, work)

    async def _write(self, service: str, work: Callable[[sa.Connection], Stored]) -> Credential:
        stored = await self.database.run(work, lambda stored: self._remember(service, stored))
        return self._with_use(stored.credential)

    def _remember(self, service: str, stored: Stored | None) -> None:
        kept = {name: record for name, record in self._contents.records.items() if name != service}
        broken = {name: record_id for name, record_id in self._contents.damaged.items() if name != service}
        if stored is not None:
            kept[service] = stored
        # One assignment: whoever reads meanwhile sees the state before or the state after.
        self._contents = Contents(self.keys.slot, kept, broken)

    def _write_used(self, connection: sa.Connection) -> dict[str, str]:
        pending = {key: at for key, at in dict(self._used).items() if self._used_on_disk.get(key) != at}
        records.write_last_used(connection, pending)
        return pending

    def _with_use(self, credential: Credential) -> Credential:
        used = self._used.get(credential.id)
        return credential if used is None else replace(credential, last_used_at=used)

    def _demand_free(self, service: str) -> None:
        contents = self._contents
        for name in (*contents.records, *contents.damaged):
            if name == service:
                raise Refusal(
                    ProblemCode.CONFLICT,
                    f"There is already a credential {service}.",
                    f"Replace its secret with: mycelos credential rotate {service}",
                )
            if resembles(name, service):
                raise Refusal(
                    ProblemCode.CONFLICT,
                    f"The name {service} looks like {name}, which exists; one could be taken for the other.",
                    "Choose a name that cannot be confused with it.",
                )

    def _demand_known(self, service: str) -> Stored:
        if service in self._contents.damaged:
            raise broken(service)
        stored = self._contents.records.get(service)
        if stored is None:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"There is no credential {service}.",
                "See which there are with: mycelos credential list",
            )
        return stored

    def _identifier(self, kind: Kind) -> str:
        return new_identifier(kind, self._clock, self._randomness)

    def _now(self) -> str:
        return timestamp(self._clock())


def _read(connection: sa.Connection, slot: SlotKeys) -> tuple[Contents, HeldKeys]:
    return records.read_records(connection, slot), read_keys(connection, slot)


@contextmanager
def _open(contents: Contents, wanted: Sequence[Stored]) -> Iterator[_Secrets]:
    opened = hazmat.open_all(contents.keys, [stored.sealed for stored in wanted])
    try:
        secrets = opened.__enter__()
    except SealBrokenError:
        raise broken(", ".join(stored.credential.service for stored in wanted)) from None
    try:
        yield secrets
    finally:
        opened.__exit__(None, None, None)
