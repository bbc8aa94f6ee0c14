"""What Alembic runs: the scripts in `versions`, on the connection that the database hands over."""

from __future__ import annotations

from alembic import context

from mycelos.proxy.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
