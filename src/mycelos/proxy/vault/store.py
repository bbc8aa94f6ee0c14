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
from mycelos.proxy.database import WRAPPED_KEYS, Database
from mycelos.proxy.vault import envelope, hazmat, records, slots
from mycelos.proxy.vault.envelope import Randomness, SlotKeys, WrappedKey
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError, Secret
from mycelos.proxy.vault.records import Contents, Credential, Stored
from mycelos.proxy.vault.slots import Clock, new_identifier, system_clock, timestamp
from mycelos.wire.binding import Binding
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.operator import check_label, check_secret, check_service, resembles
from mycelos.wire.problems import ProblemCode, Refusal

# The class below has a method called list.
_Secrets = list[Secret]

_TOUCH_SECONDS: Final = 60.0


class Vault:
    """Credentials of one installation. Made by `Vault.open`."""

    def __init__(self, database: Database, keys: SlotKeys, clock: Clock, randomness: Randomness) -> None:
        self.database = database
        self.keys = keys
        self._clock = clock
        self._randomness = randomness
        self._contents = Contents()
        self._wrapped_keys: dict[str, WrappedKey] = {}
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
    ) -> Vault:
        """Open the vault below ``layout``, or make an empty one.

        Raises:
            VaultError: the key does not fit, the file is not as it must be, or another process has it open. An
                existing file is as it was.
        """
        database = Database.open(layout.vault, lambda connection: slots.demand_fitting_key(connection, master_key))
        try:
            keys = database.run_now(lambda connection: slots.open_or_make(connection, master_key, clock, randomness))
            vault = cls(database, keys, clock, randomness)
            database.run_now(vault._load)
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
        """
        contents = self._contents
        if service in contents.damaged:
            raise _broken(service)
        stored = contents.records.get(service)
        return None if stored is None else self._with_use(stored.credential)

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
            Refusal: `credential_unknown` when it was changed or deleted since it was looked up,
                `vault_unavailable` when its record does not open.
        """
        stored = self._contents.records.get(credential.service)
        if stored is None or (stored.credential.id, stored.credential.version) != (credential.id, credential.version):
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"The credential {credential.service} was changed or deleted while this request was on its way.",
                "Send the request again.",
            )
        with self._open([stored]) as (secret,):
            yield secret

    @contextmanager
    def secrets_for_host(self, host: str, port: int) -> Iterator[_Secrets]:
        """The secret of every credential bound to this host and port: what an answer from there must not hold.

        Raises:
            Refusal: `vault_unavailable`; one of them does not open, so that nothing could be scrubbed for it.
        """
        bound = [
            stored
            for stored in self._contents.records.values()
            if any((binding.host, binding.port) == (host, port) for binding in stored.credential.bindings)
        ]
        with self._open(bound) as secrets:
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
        wrapped = self._wrapped_keys.get(name)
        if wrapped is None:
            wrapped = self.database.run_now(lambda connection: self._make_wrapped_key(connection, name))
        try:
            return hazmat.open_wrapped_key(self.keys, wrapped)
        except SealBrokenError:
            raise VaultError(
                detail=f"The key {name} in the vault was altered outside Mycelos.",
                next_step="Put back a copy of the data folder that is sound.",
            ) from None

    async def store(self, service: str, label: str, bindings: tuple[Binding, ...], secret: str) -> Credential:
        """Store a new credential.

        Raises:
            Refusal: `conflict` for a name that exists or looks like one that does, `invalid_request`,
                `vault_unavailable`.
        """
        _check(service=service, label=label, secret=secret)

        def work(connection: sa.Connection) -> Stored:
            self._demand_free(service)
            sealed = envelope.seal_record(
                self.keys,
                tenant_id=DEFAULT_TENANT,
                record_id=self._identifier(Kind.CREDENTIAL),
                version=1,
                service=service,
                label=label,
                bindings=envelope.canonical_bindings(bindings),
                secret=secret.encode("utf-8"),
                randomness=self._randomness,
            )
            return records.insert_record(connection, self.keys, sealed, self._now())

        return await self._write(service, work)

    async def rotate(self, service: str, secret: str) -> Credential:
        """Put a new secret in the place of the old one, which is removed.

        Raises:
            Refusal: `credential_unknown`, `invalid_request`, `vault_unavailable`.
        """
        _check(service=service, secret=secret)

        def work(connection: sa.Connection) -> Stored:
            old = self._demand_known(service)
            sealed = envelope.seal_record(
                self.keys,
                tenant_id=old.sealed.tenant_id,
                record_id=old.sealed.record_id,
                version=old.sealed.version + 1,
                service=service,
                label=old.sealed.label,
                bindings=old.sealed.bindings,
                secret=secret.encode("utf-8"),
                randomness=self._randomness,
            )
            return records.replace_record(connection, self.keys, old.credential, sealed, self._now())

        return await self._write(service, work)

    async def bind(self, service: str, bindings: tuple[Binding, ...], label: str | None = None) -> Credential:
        """Replace the bindings, and the label where one is given.

        Raises:
            Refusal: `credential_unknown`, `invalid_request`, `vault_unavailable`.
        """
        _check(service=service, label=label)

        def work(connection: sa.Connection) -> Stored:
            old = self._demand_known(service)
            try:
                sealed = hazmat.reseal(
                    self.keys,
                    old.sealed,
                    label=old.sealed.label if label is None else label,
                    bindings=envelope.canonical_bindings(bindings),
                    randomness=self._randomness,
                )
            except SealBrokenError:
                raise _broken(service) from None
            return records.replace_record(connection, self.keys, old.credential, sealed, self._now())

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

    async def _write(self, service: str, work: Callable[[sa.Connection], Stored]) -> Credential:
        stored = await self.database.run(work, lambda stored: self._remember(service, stored))
        return self._with_use(stored.credential)

    def _remember(self, service: str, stored: Stored | None) -> None:
        kept = {name: record for name, record in self._contents.records.items() if name != service}
        broken = {name: record_id for name, record_id in self._contents.damaged.items() if name != service}
        if stored is not None:
            kept[service] = stored
        # One assignment: whoever reads meanwhile sees the state before or the state after.
        self._contents = Contents(kept, broken)

    @contextmanager
    def _open(self, wanted: Sequence[Stored]) -> Iterator[_Secrets]:
        opened = hazmat.open_all(self.keys, [stored.sealed for stored in wanted])
        try:
            secrets = opened.__enter__()
        except SealBrokenError:
            raise _broken(", ".join(stored.credential.service for stored in wanted)) from None
        try:
            yield secrets
        finally:
            opened.__exit__(None, None, None)

    def _load(self, connection: sa.Connection) -> None:
        self._contents = records.read_records(connection, self.keys)
        rows = connection.execute(sa.select(WRAPPED_KEYS).where(WRAPPED_KEYS.c.retired_at.is_(None)))
        self._wrapped_keys = {
            row.name: WrappedKey(row.tenant_id, row.id, row.name, row.kid, row.wrapped_key) for row in rows
        }

    def _make_wrapped_key(self, connection: sa.Connection, name: str) -> WrappedKey:
        made = envelope.make_wrapped_key(
            self.keys,
            tenant_id=DEFAULT_TENANT,
            key_id=self._identifier(Kind.WRAPPED_KEY),
            name=name,
            randomness=self._randomness,
        )
        records.count_wrap(connection, self.keys.kid)
        connection.execute(
            WRAPPED_KEYS.insert().values(
                id=made.key_id,
                tenant_id=made.tenant_id,
                name=name,
                kid=made.kid,
                wrapped_key=made.wrapped_key,
                created_at=self._now(),
                retired_at=None,
            )
        )
        self._wrapped_keys[name] = made
        return made

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
            raise _broken(service)
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


def _broken(service: str) -> Refusal:
    return Refusal(
        ProblemCode.VAULT_UNAVAILABLE,
        f"The record of the credential {service} does not open: it was altered outside Mycelos, or is damaged.",
        f"Delete it and store it again: mycelos credential delete {service}",
    )


def _check(*, service: str, label: str | None = None, secret: str | None = None) -> None:
    try:
        check_service(service)
        if label is not None:
            check_label(label)
        if secret is not None:
            check_secret(secret)
    except ValueError as error:
        raise Refusal(ProblemCode.INVALID_REQUEST, f"{error}.", "Correct the field and try again.") from None
