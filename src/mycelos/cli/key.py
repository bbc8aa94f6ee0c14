"""``mycelos key``: how the keys are, and their rotation; in the running proxy, or here beside a stopped one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, complain, error_of, print_json, print_table, say
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient, OperatorNotRunningError, OperatorUnavailableError
from mycelos.wire.keys import LEDGER_SIGNING_KEY, LONG_LIVED_KEYS, KeyRotated, KeyStatus
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mycelos.configuration.environment import Environment

app = App(name="key", help="The master key and the long-lived ones.")

Answer = TypeVar("Answer")
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]

_ROTATION_SECONDS: Final = 600.0
"""How long the proxy may take to wrap everything anew: many times what it takes."""


@app.command
def rotate(
    *,
    name: Annotated[str | None, Parameter(help=f"a long-lived key: {' or '.join(LONG_LIVED_KEYS)}")] = None,
    json: Json = False,
) -> int:
    """Change the master key: everything is wrapped anew, and the old key opens nothing of this vault any more.

    Old copies of the data folder, backups among them, still open with the old key. With --name, one long-lived key
    is changed instead.

    Example: mycelos key rotate
    """
    if name is not None and name not in LONG_LIVED_KEYS:
        message = "--name: there is no long-lived key of this name."
        raise CommandError(message, f"Use one of: {', '.join(LONG_LIVED_KEYS)}", ExitCode.WRONG_USAGE)
    layout, settings = _settings()
    with _as_command_errors():
        rotated = _at_the_door_or(
            lambda: OperatorClient(layout, _ROTATION_SECONDS).rotate_key(name),
            lambda: _rotate_here(layout, settings, name),
        )
    end = ExitCode.FAILED if rotated.is_unfinished else ExitCode.DONE
    if name == LEDGER_SIGNING_KEY:
        _say_to_tell_the_witness(layout, settings)
    if json:
        print_json(msgspec.to_builtins(rotated))
        return end
    say(f"{rotated.name}: {rotated.previous_key_id} is retired, {rotated.key_id} is in use.")
    if name is None:
        say(f"Under the new key: {rotated.records} records, {rotated.keys} long-lived keys, {rotated.rows} rows.")
        say(f"Keep a copy of {layout.master_key} in a safe place, apart from the data folder and from every backup.")
        say("The old key still opens backups and copies of the data folder that were made before, and they need it:")
        say(
            "keep it as long as them, apart from them. If others may have it, back up anew and destroy the old backups."
        )
    if rotated.is_unfinished:
        complain(
            f"The new key could not be put into {layout.master_key} and waits in {layout.master_key_next}: keep both. "
            "Check free space and the rights of the folder; the next start, or the next rotation, finishes it."
        )
    return end


@app.command
def status(*, json: Json = False) -> int:
    """Show the key slot in use, its age, how often it has wrapped, and the long-lived keys. Never a key.

    Example: mycelos key status --json
    """
    layout, settings = _settings()
    with _as_command_errors():
        found = _at_the_door_or(lambda: OperatorClient(layout).key_status(), lambda: _status_here(layout, settings))
    days = (datetime.now(UTC) - datetime.fromisoformat(found.created_at)).days
    if json:
        print_json({**msgspec.to_builtins(found), "age_days": days})
        return ExitCode.DONE
    say(f"key slot     {found.slot}")
    say(f"created      {found.created_at} ({days} days ago)")
    say(f"wraps        {found.wraps} of {found.wraps_limit}")
    say(f"master key   from the {found.source.value}")
    say(f"records      {found.records}")
    say(
        f"rotation     {'cut short: the next start finishes or undoes it' if found.is_unfinished else 'none under way'}"
    )
    if found.keys:
        say()
        print_table(
            ("long-lived key", "id", "created", "retired"),
            [(key.name, key.id, key.created_at, key.retired_at or "-") for key in found.keys],
        )
    return ExitCode.DONE


def _say_to_tell_the_witness(layout: DataLayout, settings: Environment) -> None:
    from mycelos.cli.audit_witness import witness_url
    from mycelos.proxy.ledger.heads import outside_of
    from mycelos.proxy.vault.installation import installation_of

    url = witness_url(settings, layout, outside_of(layout, os.environ, installation_of(layout.vault)))
    if url is not None:
        complain(
            f"The witness at {url} refuses every checkpoint (403) until it knows the new key: start it again with one "
            "more --log; the key is printed by: mycelos db audit checkpoint --key"
        )


def _settings() -> tuple[DataLayout, Environment]:
    settings = settings_of(os.environ)
    return DataLayout(settings.data_directory), settings


def _at_the_door_or(ask: Callable[[], Answer], do_here: Callable[[], Answer]) -> Answer:
    """What the running proxy answers; where none runs, what is done here, under the proxy's own lock."""
    try:
        return ask()
    except OperatorNotRunningError:
        return do_here()


def _rotate_here(layout: DataLayout, settings: Environment, name: str | None) -> KeyRotated:
    # What opens a vault is imported where no proxy does it.
    from mycelos.proxy.process import harden
    from mycelos.proxy.stopped import stopped_keys

    harden()

    async def work() -> KeyRotated:
        async with stopped_keys(layout, settings.master_key) as keys:
            return await (keys.rotate_master() if name is None else keys.rotate_named(name))

    return asyncio.run(work())


def _status_here(layout: DataLayout, settings: Environment) -> KeyStatus:
    from mycelos.proxy.stopped import stopped_status

    return stopped_status(layout, settings.master_key)


@contextmanager
def _as_command_errors() -> Iterator[None]:
    from mycelos.proxy.ledger.database import LedgerError
    from mycelos.proxy.vault.errors import VaultError

    try:
        yield
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except (OperatorUnavailableError, VaultError) as error:
        raise CommandError(error.detail, error.next_step) from None
    except LedgerError as error:
        raise CommandError(str(error)) from None
    except sqlite3.Error as error:
        message = f"The ledger answered {error.sqlite_errorname}."
        raise CommandError(message, "Check free space and the rights of the data folder.") from None
