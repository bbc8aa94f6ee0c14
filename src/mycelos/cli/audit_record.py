"""An export is put on record before it is written, by the proxy that runs or beside one that does not.

A ledger that can only be read, or does not hold, is when somebody needs it most: then it says that it is not on record,
and goes on. A sound one that takes no more before it is signed is no such need: there it fails, and a start helps.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.cli.output import complain, one_line
from mycelos.ledger.events import Event
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.present import record_while_stopped
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.refusals import UnsignedLimitError
from mycelos.wire.operator import AuditExport
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.ledger.reader import LedgerReader

_NEXT_STEPS: Final = {
    errno.EROFS: "mount it so that it can be written",
    errno.EACCES: "run as the owner of the data folder",
    errno.EPERM: "run as the owner of the data folder",
    errno.ENOSPC: "make room on that disk",
}


def record_export(layout: DataLayout, reader: LedgerReader, file_label: str) -> None:
    """Put on record that every entry there is now is about to be written to ``file_label``, a name without its folder.

    An empty ledger is not written to.

    Raises:
        UnsignedLimitError: nothing more can be recorded before a start has signed what is there.
    """
    newest = reader.newest(1)
    if not newest:
        return
    about = AuditExport(last_seq=newest[0].seq, file_label=file_label)
    try:
        _record(layout, about)
    except UnsignedLimitError:
        raise
    except Refusal as refusal:
        _complain(refusal.problem.detail)
    except (BackupError, OperatorUnavailableError) as error:
        _complain(error.detail)
    except LedgerError as error:
        _complain(str(error))
    except sqlite3.Error as error:
        why = getattr(error, "sqlite_errorname", "") or type(error).__name__
        _complain(f"{layout.ledger} cannot be written ({why}); see: mycelos doctor")
    except OSError as error:
        number = error.errno or errno.EIO
        step = _NEXT_STEPS.get(number, "see: mycelos doctor")
        _complain(f"{error.filename or layout.ledger} cannot be written: {os.strerror(number)}; {step}")


def _record(layout: DataLayout, about: AuditExport) -> None:
    try:
        OperatorClient(layout).record_export(about)
    except OperatorUnavailableError:
        # Nothing runs, or it is on its way up or down: then the folder's lock says no.
        record_while_stopped(layout, Event.AUDIT_EXPORTED, msgspec.structs.asdict(about))


def _complain(why: str) -> None:
    complain(f"this export is not on record: {one_line(why)}")
