"""Running Alembic on an open connection. Imported only when a database's revision differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

if TYPE_CHECKING:
    from sqlalchemy import Connection


def script_directory() -> ScriptDirectory:
    """The revisions beside this module."""
    return ScriptDirectory(str(Path(__file__).parent))


def is_known(revision: str) -> bool:
    """Whether this version of the program has the revision."""
    try:
        return script_directory().get_revision(revision) is not None
    except CommandError:
        return False


def upgrade(connection: Connection, target: str) -> None:
    """Bring the database to ``target``, in the caller's transaction."""
    _migrate(connection, target, down=False)


def downgrade(connection: Connection, target: str) -> None:
    """Take the database back to ``target`` (``base`` for none), in the caller's transaction."""
    _migrate(connection, target, down=True)


def _migrate(connection: Connection, target: str, *, down: bool) -> None:
    scripts = script_directory()

    def steps(current: tuple[str, ...], _context: MigrationContext) -> list[object]:
        found = current[0] if current else "base"
        # Alembic's own commands call these two; it has no public way to run without its configuration file.
        if down:
            return list(scripts._downgrade_revs(target, found))  # noqa: SLF001
        return list(scripts._upgrade_revs(target, found))  # noqa: SLF001

    context = MigrationContext.configure(connection, opts={"fn": steps, "render_as_batch": True})
    with Operations.context(context):
        context.run_migrations()
