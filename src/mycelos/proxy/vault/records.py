"""Credentials as rows: reading and checking them, and the statements that change them, each inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import sqlalchemy as sa

from mycelos.proxy.changes import change_one, remove_all
from mycelos.proxy.tables import CREDENTIAL_VERSIONS, CREDENTIALS, KEY_SLOTS
from mycelos.proxy.vault import hazmat
from mycelos.proxy.vault.envelope import WRAP_LIMIT, Randomness, SealedRecord, SlotKeys
from mycelos.wire.binding import Binding
from mycelos.wire.problems import ProblemCode, Refusal

_BINDINGS: Final = msgspec.json.Decoder(tuple[Binding, ...])


@dataclass(frozen=True)
class Credential:
    """What is known of a stored credential without opening it. Times are RFC 3339."""

    id: str
    version: int
    service: str
    label: str
    bindings: tuple[Binding, ...]
    created_at: str
    changed_at: str
    last_used_at: str | None
    parked_at: str | None = None
    """When a restore brought it back; None once the operator has confirmed it. Nothing uses it until then."""


@dataclass(frozen=True)
class Stored:
    """A credential and its sealed form."""

    credential: Credential
    sealed: SealedRecord


@dataclass
class Contents:
    """Every record of a vault by its service; ``damaged`` maps those that do not verify to their ids.

    ``keys`` are those that open the records: whoever reads takes both at once, so that no rotation comes between.
    """

    keys: SlotKeys
    records: dict[str, Stored] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


def read_records(connection: sa.Connection, keys: SlotKeys) -> Contents:
    """Read every record and check the MAC of its row. A row that does not verify is named, never used."""
    contents = Contents(keys)
    rows = connection.execute(
        sa.select(
            CREDENTIALS,
            CREDENTIAL_VERSIONS.c.label,
            CREDENTIAL_VERSIONS.c.bindings,
            CREDENTIAL_VERSIONS.c.created_at.label("changed_at"),
            CREDENTIAL_VERSIONS.c.kid.label("sealed_kid"),
            CREDENTIAL_VERSIONS.c.wrapped_key,
            CREDENTIAL_VERSIONS.c.payload,
        ).select_from(
            CREDENTIALS.outerjoin(
                CREDENTIAL_VERSIONS,
                sa.and_(
                    CREDENTIAL_VERSIONS.c.credential_id == CREDENTIALS.c.id,
                    CREDENTIAL_VERSIONS.c.version == CREDENTIALS.c.version,
                    CREDENTIAL_VERSIONS.c.tenant_id == CREDENTIALS.c.tenant_id,
                ),
            )
        )
    )
    for row in rows:
        stored = _check(row, keys)
        if stored is None:
            contents.damaged[row.service] = row.id
        else:
            contents.records[row.service] = stored
    return contents


def insert_record(connection: sa.Connection, keys: SlotKeys, sealed: SealedRecord, now: str) -> Stored:
    """Write a new credential."""
    credential = _describe(sealed, created_at=now, changed_at=now, last_used_at=None)
    change_one(
        connection,
        CREDENTIALS.insert().values(
            id=sealed.record_id,
            tenant_id=sealed.tenant_id,
            service=sealed.service,
            version=sealed.version,
            created_at=now,
            last_used_at=None,
            kid=keys.kid,
            row_mac=_row_mac(keys, sealed, created_at=now, changed_at=now),
        ),
    )
    _insert_version(connection, keys, sealed, now)
    return Stored(credential, sealed)


def replace_record(
    connection: sa.Connection, keys: SlotKeys, old: Credential, sealed: SealedRecord, now: str
) -> Stored:
    """Write the next version of ``old`` and remove the one before: a superseded secret is kept nowhere."""
    change_one(
        connection,
        CREDENTIALS.update()
        .where(CREDENTIALS.c.id == old.id)
        .values(
            version=sealed.version,
            kid=keys.kid,
            row_mac=_row_mac(keys, sealed, created_at=old.created_at, changed_at=now, parked_at=old.parked_at),
        ),
    )
    remove_all(connection, CREDENTIAL_VERSIONS, CREDENTIAL_VERSIONS.c.credential_id == old.id)
    _insert_version(connection, keys, sealed, now)
    described = _describe(
        sealed, created_at=old.created_at, changed_at=now, last_used_at=old.last_used_at, parked_at=old.parked_at
    )
    return Stored(described, sealed)


def write_parked(connection: sa.Connection, keys: SlotKeys, stored: Stored, parked_at: str | None) -> Stored:
    """Park a credential since ``parked_at``, or confirm it with None."""
    old = stored.credential
    mac = _row_mac(keys, stored.sealed, created_at=old.created_at, changed_at=old.changed_at, parked_at=parked_at)
    change_one(
        connection,
        CREDENTIALS.update().where(CREDENTIALS.c.id == old.id).values(parked_at=parked_at, kid=keys.kid, row_mac=mac),
    )
    return Stored(replace(old, parked_at=parked_at), stored.sealed)


def park_all(connection: sa.Connection, keys: SlotKeys, parked_at: str) -> list[Credential]:
    """Park every credential that verifies and is not parked yet; those that are parked now."""
    stored = [one for one in read_records(connection, keys).records.values() if one.credential.parked_at is None]
    return [write_parked(connection, keys, one, parked_at).credential for one in stored]


def delete_record(connection: sa.Connection, record_id: str) -> None:
    """Remove a credential and what was sealed for it. Its id is never used again."""
    change_one(connection, CREDENTIALS.delete().where(CREDENTIALS.c.id == record_id))


def rewrap_records(connection: sa.Connection, contents: Contents, new: SlotKeys, randomness: Randomness) -> None:
    """Put every record of ``contents`` under ``new``: data key and MAC. No payload is touched.

    Raises:
        SealBrokenError: a data key does not open.
    """
    again = [
        Stored(stored.credential, hazmat.rewrap_record(contents.keys, new, stored.sealed, randomness))
        for stored in contents.records.values()
    ]
    if not again:
        return
    connection.execute(
        CREDENTIAL_VERSIONS.update()
        .where(
            CREDENTIAL_VERSIONS.c.credential_id == sa.bindparam("of_record"),
            CREDENTIAL_VERSIONS.c.version == sa.bindparam("of_version"),
        )
        .values(kid=new.kid, wrapped_key=sa.bindparam("wrapped")),
        [
            {
                "of_record": stored.sealed.record_id,
                "of_version": stored.sealed.version,
                "wrapped": stored.sealed.wrapped_key,
            }
            for stored in again
        ],
    )
    connection.execute(
        CREDENTIALS.update()
        .where(CREDENTIALS.c.id == sa.bindparam("of_record"))
        .values(kid=new.kid, row_mac=sa.bindparam("mac")),
        [
            {
                "of_record": stored.sealed.record_id,
                "mac": _row_mac(
                    new,
                    stored.sealed,
                    created_at=stored.credential.created_at,
                    changed_at=stored.credential.changed_at,
                    parked_at=stored.credential.parked_at,
                ),
            }
            for stored in again
        ],
    )
    count_wraps(connection, new.kid, len(again))


def write_last_used(connection: sa.Connection, used: dict[str, str]) -> None:
    """Write when credentials, by id, were last used."""
    for record_id, at in used.items():
        connection.execute(CREDENTIALS.update().where(CREDENTIALS.c.id == record_id).values(last_used_at=at))


def count_wraps(connection: sa.Connection, kid: str, number: int = 1) -> None:
    """Count ``number`` more wraps under the key of slot ``kid``.

    Raises:
        Refusal: `vault_unavailable`; the key would then have wrapped more often than random nonces allow.
    """
    counted = connection.execute(
        KEY_SLOTS.update()
        .where(KEY_SLOTS.c.kid == kid, KEY_SLOTS.c.wraps <= WRAP_LIMIT - number)
        .values(wraps=KEY_SLOTS.c.wraps + number)
    )
    if counted.rowcount != 1:
        raise Refusal(
            ProblemCode.VAULT_UNAVAILABLE,
            "The vault's key has sealed as many records as one key may.",
            "Change the master key, which begins to count anew: mycelos key rotate",
        )


def _insert_version(connection: sa.Connection, keys: SlotKeys, sealed: SealedRecord, now: str) -> None:
    count_wraps(connection, keys.kid)
    change_one(
        connection,
        CREDENTIAL_VERSIONS.insert().values(
            credential_id=sealed.record_id,
            version=sealed.version,
            tenant_id=sealed.tenant_id,
            label=sealed.label,
            bindings=sealed.bindings,
            created_at=now,
            kid=sealed.kid,
            wrapped_key=sealed.wrapped_key,
            payload=sealed.payload,
        ),
    )


def _check(row: sa.Row[tuple[object, ...]], keys: SlotKeys) -> Stored | None:
    if row.payload is None or row.kid != keys.kid:
        return None
    sealed = SealedRecord(
        tenant_id=row.tenant_id,
        record_id=row.id,
        version=row.version,
        service=row.service,
        label=row.label,
        bindings=row.bindings,
        kid=row.sealed_kid,
        wrapped_key=row.wrapped_key,
        payload=row.payload,
    )
    columns = _mac_columns(sealed, created_at=row.created_at, changed_at=row.changed_at, parked_at=row.parked_at)
    try:
        if not keys.row_holds(CREDENTIALS.name, columns, row.row_mac):
            return None
        described = _describe(
            sealed,
            created_at=row.created_at,
            changed_at=row.changed_at,
            last_used_at=row.last_used_at,
            parked_at=row.parked_at,
        )
    except (ValueError, msgspec.DecodeError):
        # Not canonical any more, or bindings of a form that this code does not know.
        return None
    return Stored(described, sealed)


def _row_mac(
    keys: SlotKeys, sealed: SealedRecord, *, created_at: str, changed_at: str, parked_at: str | None = None
) -> bytes:
    columns = _mac_columns(sealed, created_at=created_at, changed_at=changed_at, parked_at=parked_at)
    return keys.row_mac(CREDENTIALS.name, columns)


def _mac_columns(
    sealed: SealedRecord, *, created_at: str, changed_at: str, parked_at: str | None
) -> dict[str, str | int | None]:
    columns: dict[str, str | int | None] = {
        "id": sealed.record_id,
        "tenant_id": sealed.tenant_id,
        "service": sealed.service,
        "version": sealed.version,
        "label": sealed.label,
        "bindings": sealed.bindings,
        "kid": sealed.kid,
        "created_at": created_at,
        "changed_at": changed_at,
    }
    # Rows from before there was parking hold without it.
    return columns if parked_at is None else {**columns, "parked_at": parked_at}


def _describe(
    sealed: SealedRecord, *, created_at: str, changed_at: str, last_used_at: str | None, parked_at: str | None = None
) -> Credential:
    return Credential(
        id=sealed.record_id,
        version=sealed.version,
        service=sealed.service,
        label=sealed.label,
        bindings=_BINDINGS.decode(sealed.bindings),
        created_at=created_at,
        changed_at=changed_at,
        last_used_at=last_used_at,
        parked_at=parked_at,
    )
