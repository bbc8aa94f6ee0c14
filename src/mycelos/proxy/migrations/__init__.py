"""Upgrades of the vault's database. Imported only where a file has another revision than the code."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from mycelos.proxy.vault.errors import VaultError


def make_config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration for the scripts beside this file, working on ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def demand_known(path: Path, revision: str | None) -> str:
    """The revision of the file at ``path``, which this code can bring up to date.

    Raises:
        VaultError: it cannot; nothing is changed.
    """
    known = {script.revision for script in ScriptDirectory.from_config(make_config()).walk_revisions()}
    if revision is None or revision not in known:
        raise VaultError(
            detail=f"The vault {path} has the revision {revision!r}, which this Mycelos does not know.",
            next_step="Run the Mycelos that wrote it, or a newer one.",
        )
    return revision


def make_at(connection: sa.Connection, revision: str) -> None:
    """Make the tables of ``revision`` where there are none."""
    command.upgrade(make_config(connection), revision)


def upgrade(connection: sa.Connection, path: Path, revision: str | None) -> None:
    """Bring the tables at ``revision`` to the newest one, inside the transaction of ``connection``.

    Raises:
        VaultError: this code does not know ``revision``; nothing is changed.
    """
    demand_known(path, revision)
    command.upgrade(make_config(connection), "head")
