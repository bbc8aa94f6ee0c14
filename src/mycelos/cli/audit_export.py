"""`mycelos db audit export`: every entry and checkpoint as lines, whole or under no name."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

from cyclopts import Parameter

from mycelos.cli.audit_proof import with_next_step
from mycelos.cli.audit_record import record_export
from mycelos.cli.data_directory import layout_of
from mycelos.cli.output import ExitCode, complain, error_of, fail
from mycelos.configuration.plain_file import new_plain_file
from mycelos.ledger.canonical import CanonicalError
from mycelos.ledger.entry import EntryError, entry_from_row
from mycelos.ledger.export import to_checkpoint_line, to_line
from mycelos.ledger.signed_note import NoteError
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.refusals import UnsignedLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEXT_STEPS: Final = {
    errno.EEXIST: "name one that is not there yet, or move that one away",
    errno.ENOENT: "make its folder first",
    errno.ENOSPC: "make room on that disk",
}


def export(
    *,
    output: Annotated[Path | None, Parameter(help="A new file, mode 0600; standard output where absent.")] = None,
) -> int:
    """Write every entry and checkpoint, one JSON object a line; `verify --export` reads it back.

    That it is written is put on record first. The file has its name once all of it is written.

    Example: mycelos db audit export --output ledger.jsonl
    """
    layout = layout_of(os.environ)
    try:
        with LedgerReader(layout.ledger) as reader, _open_output(output) as stream:
            record_export(layout, reader, "standard output" if output is None else output.name)
            with reader.snapshot(), _whole(output):
                stream.writelines(_lines(reader))
                stream.flush()
    except UnsignedLimitError as refusal:
        return fail(str(error_of(refusal.problem)))
    except (LedgerError, EntryError, CanonicalError, NoteError) as error:
        return fail(with_next_step(str(error)))
    except OSError as error:
        number = error.errno or 0
        step = _NEXT_STEPS.get(number, "name another file with --output")
        return fail(f"{output or 'standard output'} cannot be written: {os.strerror(number)}; {step}")
    return ExitCode.DONE


@contextmanager
def _open_output(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        return
    with new_plain_file(output) as stream:
        yield stream


@contextmanager
def _whole(output: Path | None) -> Iterator[None]:
    """Say it where what went to standard output is not all of it: a part may hold by itself, and is not taken back."""
    try:
        yield
    except BaseException:
        if output is None:
            complain("what went to standard output, if anything, is not the whole ledger; throw it away")
        raise


def _lines(reader: LedgerReader) -> Iterator[bytes]:
    for item in reader.items():
        line = to_checkpoint_line(item) if isinstance(item, bytes) else to_line(entry_from_row(item))
        yield line + b"\n"
