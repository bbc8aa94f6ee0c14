"""The first tables of the vault."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "key_slots",
        sa.Column("kid", sa.Text, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("kdf", sa.Text, nullable=False),
        sa.Column("wrapped_root", sa.LargeBinary, nullable=False),
        sa.Column("wraps", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("retired_at", sa.Text),
        sqlite_strict=True,
    )
    op.create_table(
        "wrapped_keys",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("retired_at", sa.Text),
        sqlite_strict=True,
    )
    op.create_index(
        "wrapped_keys_in_use",
        "wrapped_keys",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("last_used_at", sa.Text),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("row_mac", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("tenant_id", "service"),
        sqlite_strict=True,
    )
    op.create_table(
        "credential_versions",
        sa.Column(
            "credential_id",
            sa.Text,
            sa.ForeignKey("credentials.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("version", sa.Integer, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("bindings", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "egress_rules",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("row_mac", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("tenant_id", "method", "scheme", "host", "port"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    for table in ("egress_rules", "credential_versions", "credentials", "wrapped_keys", "key_slots"):
        op.drop_table(table)
