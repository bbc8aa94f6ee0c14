"""The passkeys of one installation, and the one place that says whether one was used by its owner.

Kept in memory and in the vault's database, where each row carries a MAC: a row that was altered outside Mycelos
signs nobody in. Enrolled, used and removed through the operator's door alone.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from mycelos.proxy.changes import change_one
from mycelos.proxy.database import Database
from mycelos.proxy.passkeys import ceremony
from mycelos.proxy.passkeys.challenges import Challenges, Purpose
from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused, demand
from mycelos.proxy.passkeys.options import creation_options, request_options
from mycelos.proxy.tables import PASSKEYS
from mycelos.proxy.vault.signed_rows import SignedRows
from mycelos.proxy.vault.slots import Clock, new_identifier, system_clock, timestamp
from mycelos.wire.identifiers import DEFAULT_TENANT, Kind
from mycelos.wire.passkeys import Assertion, Registration
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mycelos.proxy.passkeys.ceremony import RelyingParty
    from mycelos.proxy.vault.current_keys import CurrentKeys

PASSKEYS_LIMIT: Final = 32


@dataclass(frozen=True)
class Passkey:
    """One passkey. ``credential_id`` is the authenticator's name of it, ``id`` ours, and its user handle."""

    id: str
    label: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    created_at: str
    last_used_at: str | None


class Passkeys:
    """Enrolment, sign-in and the signing of approvals, over one table and one set of challenges."""

    def __init__(
        self,
        database: Database,
        keys: CurrentKeys,
        relying_party: RelyingParty,
        *,
        clock: Clock = system_clock,
        randomness: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keys = keys
        self._relying_party = relying_party
        self._clock = clock
        self._randomness = randomness
        self._challenges = Challenges(monotonic)
        self._passkeys: dict[str, Passkey] = {}

    @classmethod
    def open(cls, database: Database, keys: CurrentKeys, relying_party: RelyingParty) -> Passkeys:
        """The passkeys in ``database``; rows whose MAC does not hold are left out.

        Raises:
            Refusal: `vault_unavailable`.
        """
        passkeys = cls(database, keys, relying_party)
        passkeys._passkeys = database.run_now(passkeys._read)
        return passkeys

    def list(self) -> list[Passkey]:
        """Every passkey, the oldest first."""
        return sorted(self._passkeys.values(), key=lambda passkey: passkey.id)

    def begin_enrolment(self, session: str, label: str) -> dict[str, Any]:
        """Options for a new passkey; only ``session`` can finish it.

        Raises:
            Refusal: `conflict` at the limit.
        """
        self._demand_room()
        handle = new_identifier(Kind.PASSKEY, self._clock, self._randomness)
        challenge = self._challenges.make(Purpose.ENROL, session=session, label=label, passkey_id=handle)
        return creation_options(self._relying_party, challenge, handle, label, self._credential_ids())

    def begin_sign_in(self) -> dict[str, Any]:
        """Options for a sign-in with whichever passkey the person has."""
        return request_options(self._relying_party, self._challenges.make(Purpose.SIGN_IN))

    def begin_approval(self, digest: str) -> dict[str, Any]:
        """Options for the signature of one request: its digest is the challenge."""
        return request_options(self._relying_party, bytes.fromhex(digest), self._credential_ids())

    async def enrol(self, session: str, registration: Registration) -> Passkey:
        """Keep a new passkey.

        Raises:
            Refusal: `forbidden` or `invalid_request` with the fault, `conflict` where it is enrolled already or there
                are too many, `vault_unavailable`.
        """
        challenge = ceremony.challenge_in(registration.response.client_data)
        asked = self._challenges.take(challenge, Purpose.ENROL, session)
        new = ceremony.check_registration(registration, self._relying_party, challenge)
        if new.credential_id in self._credential_ids():
            raise Refusal(ProblemCode.CONFLICT, "This passkey is enrolled already.", "Use it, or enrol another one.")
        self._demand_room()
        passkey = Passkey(
            asked.passkey_id, asked.label, new.credential_id, new.public_key, new.sign_count,
            timestamp(self._clock()), None,
        )  # fmt: skip
        await self._database.run(lambda connection: self._insert(connection, passkey))
        self._passkeys = {**self._passkeys, passkey.id: passkey}
        return passkey

    async def sign_in(self, assertion: Assertion) -> Passkey:
        """Whose sign-in this is.

        Raises:
            Refusal: `forbidden` or `invalid_request` with the fault; `vault_unavailable`, and nobody is signed in.
        """
        challenge = ceremony.challenge_in(assertion.response.client_data)
        self._challenges.take(challenge, Purpose.SIGN_IN)
        return await self._use(assertion, challenge)

    async def approve(self, assertion: Mapping[str, Any], digest: str) -> Passkey:
        """Who signed this request; ``assertion`` is as the browser gave it.

        That a digest is approved once is kept by whoever keeps the request.

        Raises:
            Refusal: as `sign_in`.
        """
        try:
            signed = msgspec.convert(assertion, Assertion)
        except msgspec.ValidationError:
            raise PasskeyRefused(Fault.MALFORMED) from None
        return await self._use(signed, bytes.fromhex(digest))

    async def judge(self, assertion: Mapping[str, Any] | None, digest: str) -> str:
        """The id of the passkey that approves this request; empty where none is enrolled, and so none is asked for.

        Raises:
            Refusal: as `sign_in`; there is no assertion although a passkey is enrolled.
        """
        if assertion is None:
            demand(not self._passkeys, Fault.MISSING)
            return ""
        return (await self.approve(assertion, digest)).id

    async def remove(self, passkey_id: str) -> Passkey:
        """Forget a passkey; it is good for nothing from now on.

        Raises:
            Refusal: `not_found`, `vault_unavailable`.
        """
        # Out of memory first: if the disk then refuses, it signs nobody in until the next start.
        kept = dict(self._passkeys)
        passkey = kept.pop(passkey_id, None)
        if passkey is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no passkey with this id.", "See them at the vault page.")
        self._passkeys = kept
        await self._database.run(
            lambda connection: change_one(connection, PASSKEYS.delete().where(PASSKEYS.c.id == passkey_id))
        )
        return passkey

    async def _use(self, assertion: Assertion, challenge: bytes) -> Passkey:
        credential_id = ceremony.decode(assertion.id)
        passkey = next((known for known in self._passkeys.values() if known.credential_id == credential_id), None)
        if passkey is None:
            raise PasskeyRefused(Fault.UNKNOWN_KEY)
        handle = assertion.response.user_handle
        demand(handle is None or ceremony.decode(handle) == passkey.id.encode("ascii"), Fault.UNKNOWN_KEY)
        count = ceremony.check_assertion(assertion, self._relying_party, challenge, passkey.public_key)
        demand(ceremony.advances(passkey.sign_count, count), Fault.COUNTER)
        used = replace(passkey, sign_count=count, last_used_at=timestamp(self._clock()))
        # In memory before anything is awaited: of two answers with one count, the second comes too late.
        self._passkeys = {**self._passkeys, used.id: used}
        await self._database.run(lambda connection: self._replace(connection, used))
        return used

    def _credential_ids(self) -> tuple[bytes, ...]:
        return tuple(passkey.credential_id for passkey in self.list())

    def _demand_room(self) -> None:
        if len(self._passkeys) >= PASSKEYS_LIMIT:
            raise Refusal(
                ProblemCode.CONFLICT, f"There are {PASSKEYS_LIMIT} passkeys already.", "Remove one that is not used."
            )

    def _insert(self, connection: sa.Connection, passkey: Passkey) -> None:
        columns = _columns(passkey, self._keys.kid)
        change_one(connection, PASSKEYS.insert().values(**_stored(passkey, columns), row_mac=self._mac(columns)))

    def _replace(self, connection: sa.Connection, passkey: Passkey) -> None:
        columns = _columns(passkey, self._keys.kid)
        # A count that is not kept could be used again: then the passkey signs nobody in.
        change_one(
            connection,
            PASSKEYS.update()
            .where(PASSKEYS.c.id == passkey.id)
            .values(**_stored(passkey, columns), row_mac=self._mac(columns)),
        )

    def _mac(self, columns: Mapping[str, str | int | None]) -> bytes:
        return self._keys.row_mac(PASSKEYS.name, columns)

    def _read(self, connection: sa.Connection) -> dict[str, Passkey]:
        found: dict[str, Passkey] = {}
        for row in connection.execute(sa.select(PASSKEYS)):
            if row.kid == self._keys.kid and self._keys.row_holds(PASSKEYS.name, signed_columns(row), row.row_mac):
                found[row.id] = _passkey_of(row)
        return found


def signed_columns(row: Any) -> dict[str, str | int | None]:
    """What the MAC of a stored row is over."""
    return {**_columns(_passkey_of(row), row.kid), "tenant_id": row.tenant_id}


SIGNED_PASSKEYS: Final = SignedRows(PASSKEYS, signed_columns)
"""What a rotation of the master key carries over."""


def _passkey_of(row: Any) -> Passkey:
    return Passkey(
        row.id, row.label, row.credential_id, row.public_key, row.sign_count, row.created_at, row.last_used_at
    )


def _columns(passkey: Passkey, kid: str) -> dict[str, str | int | None]:
    """The columns as they stand under the MAC, which takes texts and numbers: bytes in hex."""
    return {
        "id": passkey.id,
        "tenant_id": DEFAULT_TENANT,
        "label": passkey.label,
        "credential_id": passkey.credential_id.hex(),
        "public_key": passkey.public_key.hex(),
        "sign_count": passkey.sign_count,
        "created_at": passkey.created_at,
        "last_used_at": passkey.last_used_at,
        "kid": kid,
    }


def _stored(passkey: Passkey, columns: Mapping[str, str | int | None]) -> dict[str, Any]:
    return {**columns, "credential_id": passkey.credential_id, "public_key": passkey.public_key}
