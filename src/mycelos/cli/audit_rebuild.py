"""`mycelos db audit rebuild`: the ledger's database anew from its entries, where only index or schema is damaged."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from mycelos.cli.audit_verify import progress, report
from mycelos.cli.audit_witness import Witnesses
from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import CommandError, ExitCode, complain, error_of, fail, one_line, print_json_line, say
from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.text import escape, shorten
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.present import occupy, record_in
from mycelos.proxy.ledger.database import LedgerError, LedgerUnavailableError, way_on
from mycelos.proxy.ledger.heads import outside_of, remembered_heads
from mycelos.proxy.ledger.rebuilding import RebuildRefusedError, Rebuilt, draft_of, rebuild
from mycelos.proxy.ledger.refusals import UnsignedLimitError
from mycelos.proxy.vault.installation import installation_of
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.ledger.verify import Verification
    from mycelos.proxy.ledger.verification import Verified

_NAMED: Final = 10
"""Faults that the record names."""
_LENGTH: Final = 200
"""Characters of each: whoever changed the schema chose the names in it."""


def rebuild_database(
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="The result as one JSON object.", negative="")] = False,
) -> int:
    """Make the ledger's index and schema anew from its entries, beside a stopped system.

    Every entry, signature and stored hash is verified first, with what is remembered elsewhere, as
    `mycelos db audit verify` does; what does not hold is refused, and nothing is changed. The old files are kept in a
    folder beside the new one. Where nothing is wrong with index and schema, nothing is done. Exit code 0: index and
    schema are right. 1: it was refused, and this says why.

    Example: mycelos db audit rebuild
    """
    settings = settings_of(os.environ)
    layout = DataLayout(settings.data_directory)
    try:
        with occupy(layout):
            # Read first: whatever was remembered by now must be in what is read next.
            installation = installation_of(layout.vault)
            outside = outside_of(layout, os.environ, installation)
            remembered = remembered_heads(layout, outside)
            witnesses = Witnesses(settings, layout, outside, draft_of(layout.ledger))
            missing = [f"what {keeper} remembered cannot be read"
                       for keeper in (*remembered.unreadable, *witnesses.unreadable)]  # fmt: skip
            if installation is None:
                missing.append(
                    f"without the vault's name nobody outside of the data folder can be asked: {layout.vault}"
                )

            def weigh(found: Verified) -> Verification:
                result = witnesses.weigh(found.result, found.checkpoint)
                return result.without([*witnesses.missing_of(result), *missing])

            done = rebuild(
                layout.ledger,
                {**remembered.evidence, **witnesses.evidence},
                weigh=weigh,
                record=_record,
                progress=progress(),
            )
    except RebuildRefusedError as refused:
        report(refused.result)
        return fail(f"nothing was rebuilt or changed: more is wrong than index and schema. {way_on(layout.ledger)}")
    except LedgerUnavailableError as error:
        return fail(str(error))
    except LedgerError as error:
        return fail(f"nothing was rebuilt: {error}")
    except BackupError as error:
        raise CommandError(error.detail, error.next_step) from None
    except Refusal as refusal:
        raise error_of(refusal.problem) from None
    except sqlite3.Error as error:
        why = getattr(error, "sqlite_errorname", "") or type(error).__name__
        return fail(f"a database in {layout.proxy} cannot be written ({why}); see: mycelos doctor")
    except OSError as error:
        return fail(f"{error.filename or layout.proxy} cannot be used: {error.strerror}; see: mycelos doctor")
    _tell(done, as_json)
    return ExitCode.DONE


def _record(ledger: Path, faults: tuple[str, ...], last_seq: int, label: str) -> None:
    details = {
        "reasons": [shorten(escape(fault), _LENGTH) for fault in faults[:_NAMED]],
        "count": len(faults),
        "last_seq": last_seq,
        "file_label": label,
    }
    try:
        record_in(ledger, Event.LEDGER_REBUILT, details)
    except UnsignedLimitError as refusal:
        # No start would sign what stands there before the index is right.
        complain(f"this rebuild is not on record: {refusal.problem.detail}")


def _tell(done: Rebuilt | None, as_json: bool) -> None:
    if as_json:
        faults, kept = ([], None) if done is None else (list(done.faults), str(done.kept))
        print_json_line({"rebuilt": done is not None, "faults": faults, "kept": kept})
        return
    if done is None:
        say("Index and schema are right: nothing was done. Whether the entries hold says: mycelos db audit verify")
        return
    for fault in done.faults:
        say(f"  {one_line(fault)}")
    report(done.result)
    say(f"The ledger was made anew from its entries. The old files are kept in {done.kept}")
    say("Somebody who can write there may have done this: look at the disk, and who has access. Then: mycelos serve")
