"""`mycelos db audit checkpoint` and `proof`: what an outsider checks the ledger with, in the C2SP formats."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mycelos.cli.data_directory import layout_of
from mycelos.cli.output import ExitCode, fail, print_json_line, say
from mycelos.ledger.checkpoint import CheckpointError, open_checkpoint
from mycelos.ledger.inclusion import InclusionProof
from mycelos.ledger.merkle import ProofError, inclusion_proof
from mycelos.ledger.signed_note import VerifierKey, parse_note
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.keys import read_log_keys
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.ledger.checkpoint import Checkpoint


def checkpoint(
    *,
    key: Annotated[bool, Parameter(help="Print the public key (a vkey) and nothing else.", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="Note, key, size and root.", negative="")] = False,
) -> int:
    """Print the newest checkpoint, a signed note: size and root of the log. The key that signed it goes to stderr.

    Keep it elsewhere: `mycelos db audit verify --checkpoint FILE` holds the ledger against it.

    Example: mycelos db audit checkpoint > kept-elsewhere.note
    """
    path = layout_of(os.environ).ledger
    try:
        with LedgerReader(path) as reader, reader.snapshot():
            note, found, signer = _newest(reader)
    except LedgerError as error:
        return fail(str(error))
    except sqlite3.Error:
        return fail(_damaged(path))
    if as_json:
        told = {"checkpoint": note, "key": str(signer), "size": found.size, "root": found.root.hex()}
        print_json_line(told | {"origin": found.origin})
    elif key:
        say(str(signer))
    else:
        say(note, end="")
        say(f"signed by {signer}", stream=sys.stderr)
    return ExitCode.DONE


def proof(
    seq: Annotated[int, Parameter(help="The entry's number.")],
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="With the entry and the key.", negative="")] = False,
) -> int:
    """Print the proof that an entry is in the log, as a file that is checked offline (C2SP tlog-proof).

    Example: mycelos db audit proof 1042 > entry-1042.tlog-proof
    """
    path = layout_of(os.environ).ledger
    try:
        with LedgerReader(path) as reader, reader.snapshot():
            note, found, signer = _newest(reader)
            made = InclusionProof(seq, tuple(inclusion_proof(seq, found.size, reader.tree.node)), note.encode())
            entry = reader.entry(seq)
        if entry is None:
            return fail(f"there is no entry {seq}")
        # What is handed out was checked as its reader will.
        made.verify(bytes.fromhex(entry.leaf_hash), found.origin, [signer], verifies)
    except ProofError as error:
        return fail(f"{error}; the newest checkpoint covers what mycelos db audit checkpoint says")
    except (LedgerError, CheckpointError, ValueError) as error:
        return fail(with_next_step(str(error)))
    except sqlite3.Error:
        return fail(_damaged(path))
    if as_json:
        print_json_line({"proof": bytes(made).decode(), "entry": entry.as_dict(), "key": str(signer)})
    else:
        say(bytes(made).decode(), end="")
    return ExitCode.DONE


def with_next_step(text: str) -> str:
    """``text`` of an error at the ledger, with the next step where it names none itself."""
    return text if "mycelos " in text else f"{text}; run mycelos db audit verify"


def _newest(reader: LedgerReader) -> tuple[str, Checkpoint, VerifierKey]:
    keys, newest = read_log_keys(reader), reader.newest_checkpoint()
    if keys is None or newest is None:
        message = "this ledger has no checkpoint yet; the proxy signs one with its first entry (mycelos serve)"
        raise LedgerError(message)
    try:
        found = open_checkpoint(newest[1].encode("utf-8", "surrogateescape"), keys.origin, keys.accepted, verifies)
    except CheckpointError as error:
        message = f"the newest checkpoint does not hold: {error}; run mycelos db audit verify"
        raise LedgerError(message) from None
    (signer, *_) = parse_note(newest[1].encode("utf-8", "surrogateescape")).verified_by(keys.accepted, verifies)
    return newest[1], found, signer


def _damaged(path: Path) -> str:
    return f"{path} is damaged; keep it as evidence and run mycelos db audit verify"
