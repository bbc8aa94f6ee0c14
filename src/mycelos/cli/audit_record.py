"""An export is put on record before it is written, by the proxy that runs or beside one that does not.

It never fails for that: a ledger that can only be read is when somebody needs it most. Then it says what is missing.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from mycelos.cli.output import complain, one_line
from mycelos.ledger.events import Event
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.present import record_while_stopped
from mycelos.proxy.ledger.database import LedgerError
from mycelos.wire.operator import AuditExport
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.ledger.reader import LedgerReader


def record_export(layout: DataLayout, reader: LedgerReader, file_label: str) -> None:
    """Put on record that every entry there is now is about to be written to ``file_label``, a name without its folder.

    An empty ledger is not written to.
    """
    newest = reader.newest(1)
    if not newest:
        return
    about = AuditExport(last_seq=newest[0].seq, file_label=file_label)
    try:
        _record(layout, about)
    except Refusal as refusal:
        _complain(refusal.problem.detail)
    except (BackupError, OperatorUnavailableError) as error:
        _complain(error.detail)
    except (LedgerError, sqlite3.Error, OSError) as error:
        _complain(str(error) if isinstance(error, LedgerError) else type(error).__name__)


def _record(layout: DataLayout, about: AuditExport) -> None:
    try:
        OperatorClient(layout).record_export(about)
    except OperatorUnavailableError:
        # Nothing runs, or it is on its way up or down: then the folder's lock says no.
        record_while_stopped(layout, Event.AUDIT_EXPORTED, msgspec.structs.asdict(about))


def _complain(why: str) -> None:
    complain(f"this export is not on record: {one_line(why)}")
