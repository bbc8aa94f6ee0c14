"""The vault's tables. No secret stands in a plain column; what encryption does not seal carries ``row_mac``.

``row_mac`` is a MAC over the row's columns under a key that only the master key opens
(`mycelos.proxy.vault.envelope.SlotKeys`).
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

REVISION: Final = "0003"
"""The newest revision in `mycelos.proxy.migrations`; Alembic is imported only where a file has another."""


METADATA: Final = sa.MetaData()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, METADATA, *columns, sqlite_strict=True)


def _text(name: str, *arguments: sa.schema.SchemaItem, nullable: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, *arguments, nullable=nullable, primary_key=key)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _kid() -> sa.Column[str]:
    return _text("kid", sa.ForeignKey("key_slots.kid"))


KEY_SLOTS: Final = _table(
    "key_slots",
    _text("kid", key=True),
    _text("tenant_id"),
    _text("kdf"),
    _bytes("wrapped_root"),
    # How many keys this slot has wrapped: random nonces are good for a bounded number.
    sa.Column("wraps", sa.Integer, nullable=False),
    _text("created_at"),
    _text("retired_at", nullable=True),
)

WRAPPED_KEYS: Final = _table(
    "wrapped_keys",
    _text("id", key=True),
    _text("tenant_id"),
    _text("name"),
    _kid(),
    _bytes("wrapped_key"),
    _text("created_at"),
    _text("retired_at", nullable=True),
)
sa.Index(
    "wrapped_keys_in_use",
    WRAPPED_KEYS.c.tenant_id,
    WRAPPED_KEYS.c.name,
    unique=True,
    sqlite_where=WRAPPED_KEYS.c.retired_at.is_(None),
    postgresql_where=WRAPPED_KEYS.c.retired_at.is_(None),
)

CREDENTIALS: Final = _table(
    "credentials",
    _text("id", key=True),
    _text("tenant_id"),
    _text("service"),
    sa.Column("version", sa.Integer, nullable=False),
    _text("created_at"),
    # Written lazily and outside row_mac: what it says of the past protects nothing.
    _text("last_used_at", nullable=True),
    # Set by a restore: until the operator confirms the credential, nothing uses it.
    _text("parked_at", nullable=True),
    _kid(),
    _bytes("row_mac"),
    sa.UniqueConstraint("tenant_id", "service"),
)

CREDENTIAL_VERSIONS: Final = _table(
    "credential_versions",
    _text("credential_id", sa.ForeignKey("credentials.id", ondelete="CASCADE"), key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _text("tenant_id"),
    _text("label"),
    _text("bindings"),
    _text("created_at"),
    _kid(),
    _bytes("wrapped_key"),
    _bytes("payload"),
)

EGRESS_RULES: Final = _table(
    "egress_rules",
    _text("id", key=True),
    _text("tenant_id"),
    _text("method"),
    _text("scheme"),
    # An exact host, or "*" for every public one.
    _text("host"),
    sa.Column("port", sa.Integer, nullable=False),
    _text("created_at"),
    _kid(),
    _bytes("row_mac"),
    sa.UniqueConstraint("tenant_id", "method", "scheme", "host", "port"),
)

OPERATOR_SETTINGS: Final = _table(
    "operator_settings",
    _text("tenant_id", key=True),
    _text("name", key=True),
    _text("value"),
    _text("changed_at"),
    _kid(),
    _bytes("row_mac"),
)

PASSKEYS: Final = _table(
    "passkeys",
    _text("id", key=True),
    _text("tenant_id"),
    _text("label"),
    # The authenticator's own id of the key, and the key as COSE bytes (WebAuthn Level 3, section 6.5.1).
    _bytes("credential_id"),
    _bytes("public_key"),
    sa.Column("sign_count", sa.Integer, nullable=False),
    _text("created_at"),
    _text("last_used_at", nullable=True),
    _kid(),
    _bytes("row_mac"),
    sa.UniqueConstraint("tenant_id", "credential_id"),
)

VAULT_STATE: Final = _table(
    "vault_state",
    _text("tenant_id", key=True),
    # How often the vault has changed, and a digest over every row that decides anything.
    sa.Column("generation", sa.Integer, nullable=False),
    _bytes("digest"),
    _kid(),
    _bytes("row_mac"),
)

# The table that Alembic keeps, so that a fresh file needs no Alembic.
REVISIONS: Final = _table("alembic_version", _text("version_num", key=True))
