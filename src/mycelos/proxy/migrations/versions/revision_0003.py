"""Passkeys, the vault's state, and credentials that wait for their confirmation after a restore."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("credentials", sa.Column("parked_at", sa.Text))
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("credential_id", sa.LargeBinary, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("sign_count", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("last_used_at", sa.Text),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("row_mac", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("tenant_id", "credential_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "vault_state",
        sa.Column("tenant_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("kid", sa.Text, sa.ForeignKey("key_slots.kid"), nullable=False),
        sa.Column("row_mac", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )


def downgrade() -> None:
    for table in ("vault_state", "passkeys"):
        op.drop_table(table)
    op.drop_column("credentials", "parked_at")
