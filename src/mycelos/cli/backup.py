"""`mycelos backup`: encrypted backups made, verified and restored; and an old copy of the data folder taken over."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, complain, error_of, print_json, say
from mycelos.configuration.environment import Environment
from mycelos.configuration.layout import DataLayout
from mycelos.wire.operator import ANY_HOST, BackupMade, WebAnswer
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from pyrage.x25519 import Identity as AgeIdentity

    from mycelos.ledger.chain import Head
    from mycelos.proxy.backup.create import Made
    from mycelos.proxy.backup.reopen import Reopened
    from mycelos.proxy.backup.restore import Key

app = App(name="backup", help="Encrypted backups: make one, verify it, restore it. The master key is never in one.")

KEEP_IDENTITY: Final = (
    "Keep {path} away from the backup and from this machine: whoever has both can read the chats and the ledger, and "
    "without it nobody can restore."
)
KEEP_KEY: Final = "The master key is not in it. Keep a copy of {path} apart: without it the credentials are lost."

File = Annotated[Path, Parameter(help="the backup")]
Identity = Annotated[Path, Parameter(name="--identity", help="the file with the secret half of the age keys")]
KeyFile = Annotated[
    Path | None, Parameter(name="--master-key-file", help="the master key of the backup; else MYCELOS_MASTER_KEY, "
                           "else the one in the data folder")
]  # fmt: skip
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]


@app.command
def create(
    *,
    recipient: Annotated[list[str] | None, Parameter(help="age1..., whose secret half can read the backup")] = None,
    recipients_file: Annotated[Path | None, Parameter(help="a file of recipients, a line each")] = None,
    new_identity: Annotated[
        Path | None, Parameter(help="make a pair of age keys first, and write its secret half to this new file")
    ] = None,
    output: Annotated[Path | None, Parameter(help="the file to make; mycelos-TIME.age here where absent")] = None,
    overwrite: Annotated[bool, Parameter(negative="", help="replace a file that is there")] = False,
    json: Json = False,
) -> int:
    """Make an encrypted backup, of a running system or a stopped one: vault, ledger, settings, chats and agents.

    Example: mycelos backup create --new-identity /media/stick/backup-key.txt --output /mnt/nas/mycelos.age
    """
    from mycelos.proxy.backup.create import create as make
    from mycelos.proxy.backup.sealing import new_identity as make_identity
    from mycelos.proxy.backup.sealing import parse_recipients, read_lines

    layout = DataLayout(_settings().data_directory)
    target = (output or Path(f"mycelos-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.age")).absolute()
    with _told():
        texts = [*(recipient or ()), *(read_lines(recipients_file) if recipients_file else ())]
        recipients = parse_recipients(texts) if texts or new_identity is None else []
        if new_identity is not None:
            _demand_apart(new_identity, target, layout)
            recipients.append(make_identity(new_identity))
        before = _which(target)
        try:
            made = make(layout, recipients, target, record=_recorder(layout), progress=_progress(), overwrite=overwrite)
        except BaseException:
            # Where another file has the name by now, it is the backup, and this identity may be all that reads it.
            if new_identity is not None and _which(target) == before:
                new_identity.unlink()
            raise
    if json:
        print_json(_made(made, recipients, new_identity))
        return ExitCode.DONE
    say(f"Made {made.path}, {made.size} bytes: {', '.join(member.name for member in made.manifest.members)}")
    if made.left_out:
        complain(
            f"not in the backup: {', '.join(made.left_out)} of gateway.sqlite, which Mycelos does not make there. "
            "Somebody had the gateway's zone: keep the file as evidence."
        )
    say(f"Readable for: {', '.join(map(str, recipients))}")
    if new_identity is not None:
        say(KEEP_IDENTITY.format(path=new_identity))
    say(KEEP_KEY.format(path=layout.master_key))
    return ExitCode.DONE


@app.command
def verify(file: File, *, identity: Identity, master_key_file: KeyFile = None, json: Json = False) -> int:
    """Decrypt a backup and look through all of it. Nothing is changed, and nothing is left on the disk.

    Exit code 0: it can be restored. 1: it cannot, and this says why. 6: it is whole; there was no master key to try.

    Example: mycelos backup verify mycelos.age --identity backup-key.txt
    """
    import tempfile

    from mycelos.proxy.backup.check import check, unpack

    settings = _settings()
    with _told():
        key = _find_key(settings, master_key_file)
        identities = _read_identities(identity)
        with tempfile.TemporaryDirectory(prefix="mycelos-verify-") as name:
            layout = DataLayout(Path(name))
            manifest = unpack(file, identities, layout, _progress())
            checked = check(layout, manifest, None if key is None else key.value, _progress())
    members = [member.name for member in manifest.members]
    report = {
        "verdict": "cannot_tell" if checked.credentials is None else "holds",
        "made_at": manifest.made_at,
        "version": manifest.version,
        "members": members,
        "ledger": {"seq": manifest.ledger.seq, "leaf_hash": manifest.ledger.leaf_hash, "entries": checked.entries},
        "key_slots": list(manifest.key_slots),
        "credentials": None if checked.credentials is None else list(checked.credentials),
    }
    if json:
        print_json(report)
    else:
        say(f"whole: made {manifest.made_at} by Mycelos {manifest.version}: {', '.join(members)}")
        say(f"  ledger       {checked.entries} entries, every link holds, head {manifest.ledger.seq}")
        if checked.credentials is None:
            say(
                "  credentials  cannot tell: there was no master key to open the vault with; name it: --master-key-file"
            )
        else:
            say(f"  credentials  {len(checked.credentials)}, each opens with the master key")
    return ExitCode.CANNOT_TELL if checked.credentials is None else ExitCode.DONE


@app.command
def restore(file: File, *, identity: Identity, master_key_file: KeyFile = None, json: Json = False) -> int:
    """Restore a backup into the data folder. An installation that is there is kept under another name, never deleted.

    Every credential is parked until you confirm it, and no egress rule, passkey or session comes back. Agents with
    their capabilities, models and chats come back as they were: what you took from an agent since, it has again; look
    with `mycelos agent list`. Run again after it was cut short, it finishes.

    Example: mycelos backup restore mycelos.age --identity backup-key.txt --master-key-file master.key --data-dir ./data
    """
    from mycelos.proxy.backup.restore import restore as put_back

    settings = _settings()
    layout = DataLayout(settings.data_directory)
    with _told(), _alone(layout):
        key = _demand_key(settings, master_key_file)
        done = put_back(
            file.absolute(),
            _read_identities(identity),
            layout,
            key,
            furnish=lambda made: None if settings.proxy_token else _make_token(made),
            step=_steps(),
            progress=_progress(),
        )
    report: dict[str, Any] = {"data_directory": str(layout.root), "made_at": done.manifest.made_at}
    report |= {"aside": str(done.aside) if done.aside else None, **_reopened(done.reopened)}
    if json:
        print_json(report)
        return ExitCode.DONE
    say(f"Restored the backup of {done.manifest.made_at} into {layout.root}.")
    if done.aside:
        say(f"The installation that was there lies in {done.aside}")
    _say_reopened(done.reopened)
    return ExitCode.DONE


@app.command
def adopt(*, master_key_file: KeyFile = None, json: Json = False) -> int:
    """Take an old copy of the data folder, put back by hand, for the installation: as a restore does, in place.

    Agents with their capabilities, models and chats stay as they are in the copy; look with `mycelos agent list`.

    Example: mycelos backup adopt --data-dir ./data
    """
    from mycelos.proxy.backup.restore import adopt as take_over

    settings = _settings()
    layout = DataLayout(settings.data_directory)
    with _told(), _alone(layout):
        done = take_over(layout, _demand_key(settings, master_key_file), _steps())
    if json:
        print_json({"data_directory": str(layout.root), **_reopened(done)})
        return ExitCode.DONE
    say(f"Took over {layout.root} as it lies there.")
    _say_reopened(done)
    return ExitCode.DONE


def _read_identities(path: Path) -> list[AgeIdentity]:
    from mycelos.proxy.backup.sealing import is_open_to_others, read_identities

    found = read_identities(path)
    if is_open_to_others(path):
        complain(f"--identity: other users may open {path}, and with it every backup; take that away with: chmod 600")
    return found


def _make_token(layout: DataLayout) -> None:
    from mycelos.cli.init import provide_token

    provide_token(layout)


def _settings() -> Environment:
    return settings_of(os.environ)


def _find_key(settings: Environment, given: Path | None) -> Key | None:
    from mycelos.proxy.backup.restore import find_key

    return find_key(DataLayout(settings.data_directory), settings.master_key, given)


def _demand_key(settings: Environment, given: Path | None) -> Key:
    key = _find_key(settings, given)
    if key is None:
        message = "There is no master key: a backup never holds it."
        raise CommandError(message, "Give the copy that you keep apart: --master-key-file FILE")
    return key


def _demand_apart(identity: Path, target: Path, layout: DataLayout) -> None:
    folder = identity.absolute().parent.resolve()
    if folder == target.parent.resolve():
        message = f"{identity} would lie beside the backup: whoever takes one takes both."
        raise CommandError(message, "Name another place for the identity.", ExitCode.WRONG_USAGE)
    if folder.is_relative_to(layout.root.resolve()):
        message = f"{identity} would lie in the data folder, and be lost with it."
        raise CommandError(message, "Name another place for the identity.", ExitCode.WRONG_USAGE)


@contextmanager
def _alone(layout: DataLayout) -> Iterator[None]:
    """Keep a supervisor from starting on this folder, where there is one."""
    from mycelos.supervisor.state import AlreadyRunningError, hold_lock

    if not layout.run.is_dir():
        yield
        return
    try:
        lock = hold_lock(layout)
    except AlreadyRunningError:
        message = f"Mycelos runs in {layout.root}; a folder in use is not replaced."
        raise CommandError(message, "Stop it first: mycelos stop") from None
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _told() -> Iterator[None]:
    """The errors of everything below as this command's."""
    from mycelos.proxy.backup.errors import BackupError
    from mycelos.proxy.ledger.database import LedgerError
    from mycelos.proxy.vault.errors import VaultError

    try:
        yield
    except (BackupError, VaultError) as error:
        raise CommandError(error.detail, error.next_step) from None
    except LedgerError as error:
        raise CommandError(detail=f"{error}.") from None
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except sqlite3.Error as error:
        message = f"A database refused ({getattr(error, 'sqlite_errorname', '') or type(error).__name__})."
        raise CommandError(message, "Check free space and the rights of the folder.") from None


def _recorder(layout: DataLayout) -> Callable[[Made], None]:
    """Puts a backup on record: through the operator's door, or in the ledger itself where nothing runs."""

    def record(made: Made) -> None:
        from mycelos.ledger.events import Event
        from mycelos.operator.client import OperatorClient, OperatorUnavailableError
        from mycelos.proxy.backup.present import record_while_stopped

        details: dict[str, Any] = {
            "file_label": made.path.name,
            "size": made.size,
            "sha256": made.sha256,
            "count": len(made.manifest.members),
            "seq": made.manifest.ledger.seq,
            "leaf_hash": made.manifest.ledger.leaf_hash,
            "vault_generation": made.manifest.vault_generation,
            "version": made.manifest.version,
            "made_at": made.manifest.made_at,
        }
        try:
            OperatorClient(layout).record_backup(BackupMade(**details))
        except OperatorUnavailableError:
            # Nothing runs, or it is on its way up or down: then the folder's lock says no.
            record_while_stopped(layout, Event.BACKUP_CREATED, details)

    return record


def _made(made: Made, recipients: list[Any], identity: Path | None) -> dict[str, Any]:
    return {
        "file": str(made.path),
        "size": made.size,
        "sha256": made.sha256,
        "made_at": made.manifest.made_at,
        "members": [member.name for member in made.manifest.members],
        "recipients": [str(recipient) for recipient in recipients],
        "identity_file": str(identity) if identity else None,
        "left_out": list(made.left_out),
    }


def _reopened(done: Reopened) -> dict[str, Any]:
    return {
        "old_head": _head(done.old_head),
        "head": _head(done.head),
        "parked": list(done.parked),
        "removed_rules": [f"{rule.method} {rule.scheme}://{rule.host}:{rule.port}" for rule in done.rules],
        "web": done.web.value,
        "passkeys_removed": done.passkeys,
        "sessions_ended": done.sessions,
        "locked_down": done.locked,
    }


def _which(path: Path) -> tuple[int, int] | None:
    """Which file has this name now."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _head(head: Head) -> dict[str, Any] | None:
    return None if head.seq < 0 else {"seq": head.seq, "leaf_hash": head.leaf_hash}


def _say_reopened(done: Reopened) -> None:
    if done.old_head.seq < 0:
        say("It had no ledger any more: what was on record is lost, and a new one begins here.")
    if done.parked:
        say(f"Parked until you confirm each: {', '.join(done.parked)}")
        say("  Confirm what is still meant to be used with: mycelos credential confirm SERVICE")
    named = [rule for rule in done.rules if rule.host != ANY_HOST]
    if named:
        say("These egress rules stood in it and are not in force; allow again what is still meant:")
    for rule in named:
        host = f"[{rule.host}]" if ":" in rule.host else rule.host
        say(f"  mycelos egress allow {rule.scheme}://{host}:{rule.port} --method {rule.method}")
    if done.web is WebAnswer.ON:
        say("Public web pages were on and are off now; answer again with: mycelos egress web on")
    if done.passkeys:
        say("Passkeys of the vault page were removed; sign in with: mycelos open --operator")
    if done.locked:
        say("It is locked down, and stays so until: mycelos lockdown --lift")
    say("Agents with their capabilities, models and chats are as they were then, whatever was taken from one since.")
    say("Start it with: mycelos serve - then look at what each agent may do: mycelos agent list")


def _steps() -> Callable[[str], None]:
    return _quiet_step if not sys.stderr.isatty() else lambda name: say(f"  {name}", stream=sys.stderr)


def _quiet_step(_name: str) -> None:
    """Nobody watches."""


def _progress() -> Callable[[str, float], None]:
    """Says on a terminal what is worked on, and each further tenth of it."""
    told: dict[str, int] = {}

    def tell(what: str, done: float) -> None:
        tenth = int(done * 10)
        if sys.stderr.isatty() and told.get(what, -1) < tenth:
            told[what] = tenth
            say(f"  {what}: {tenth * 10} %", stream=sys.stderr)

    return tell
