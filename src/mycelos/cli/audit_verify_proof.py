"""`mycelos db audit verify --proof FILE`: is this entry in the log? Told from the file and a key, without a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from mycelos.cli.output import ExitCode, fail, mute_stdout, one_line, print_json_line, say
from mycelos.configuration.plain_file import read_at_most
from mycelos.ledger.chain import computed_hash
from mycelos.ledger.checkpoint import Checkpoint, CheckpointError
from mycelos.ledger.entry import Entry, EntryError, entry_from_row
from mycelos.ledger.export import row_from_object
from mycelos.ledger.inclusion import parse_proof
from mycelos.ledger.merkle import ProofError
from mycelos.ledger.signed_note import NoteError, VerifierKey
from mycelos.ledger.verify import EXIT_CODES, WORDS, Verdict
from mycelos.proxy.vault.signing import verifies
from mycelos.wire.decoding import decode_request
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT: Final = 1024 * 1024
"""Bytes of such a file: more than the largest entry and the longest proof take."""


class ProvenEntry(msgspec.Struct, forbid_unknown_fields=True):
    """What `mycelos db audit proof 1042 --json` prints: the entry, its proof (C2SP tlog-proof), the key that signed."""

    proof: str
    entry: dict[str, Any]
    key: str


class _Found(NamedTuple):
    entry: Entry
    checkpoint: Checkpoint
    key: VerifierKey


def verify_proof(path: Path, key: str | None, as_json: bool) -> int:
    """Say whether the entry in the file at ``path`` is in the log that ``key``, a vkey known from elsewhere, signs.

    Exit code 0: it is. 1: its content, its path or the signature does not hold. 6: it is in the log of another key than
    ``key``, there is none to tell whose log that is, or the result cannot be printed. 2: the file holds no entry with
    its proof.
    """
    try:
        trusted = None if key is None else VerifierKey.parse(key)
    except NoteError as error:
        return wrong_key(error)
    try:
        with path.open("rb") as stream:
            given = decode_request(read_at_most(stream, SIZE_LIMIT, path), ProvenEntry, str(path))
    except OSError as error:
        return fail(f"cannot tell: {path} cannot be read: {error.strerror}", ExitCode.CANNOT_TELL)
    except Refusal as refusal:
        text = f"--proof: {refusal.problem.detail}; of entry 1042 mycelos db audit proof 1042 --json writes one"
        return fail(text, ExitCode.WRONG_USAGE)
    try:
        found = _verified(given)
    except (EntryError, ProofError, CheckpointError, NoteError) as error:
        return _tell(Verdict.BROKEN, str(error), None, as_json)
    reason = f"entry {found.entry.seq} is one of the {found.checkpoint.size} of the log {found.checkpoint.origin}"
    if trusted is None:
        missing = "the file alone says whose that is; --key KEY, which mycelos db audit checkpoint --key shows there"
        return _tell(Verdict.CANNOT_TELL, f"{reason}, but {missing}", found, as_json)
    if trusted != found.key:
        missing = f"that is signed by {found.key} and not by --key; ask for the proof again after a key was rotated"
        return _tell(Verdict.CANNOT_TELL, f"{reason}, but {missing}", found, as_json)
    return _tell(Verdict.HOLDS, reason, found, as_json)


def wrong_key(error: NoteError) -> int:
    """Say that ``--key`` is none."""
    return fail(f"--key: {error}; mycelos db audit checkpoint --key shows the one of this log", ExitCode.WRONG_USAGE)


def _verified(given: ProvenEntry) -> _Found:
    """What ``given`` shows under the key that it names itself.

    Raises:
        EntryError, ProofError, CheckpointError, NoteError: nothing; the text says why.
    """
    entry = entry_from_row(row_from_object(given.entry))
    if computed_hash(entry) != entry.leaf_hash:
        message = f"entry {entry.seq} does not have the hash that it names"
        raise EntryError(message)
    proof = parse_proof(given.proof.encode("utf-8", "surrogateescape"))
    if proof.index != entry.seq:
        message = f"the proof is of entry {proof.index}, and the entry is {entry.seq}"
        raise ProofError(message)
    key = VerifierKey.parse(given.key)
    return _Found(entry, proof.verify(bytes.fromhex(entry.leaf_hash), key.name, [key], verifies), key)


def _tell(verdict: Verdict, reason: str, found: _Found | None, as_json: bool) -> int:
    """Print the result: the exit code, which speaks against the file only where the file is at fault."""
    try:
        _report(verdict, reason, found, as_json)
    except OSError as error:
        mute_stdout()
        if verdict is not Verdict.BROKEN:
            return fail(f"cannot tell: standard output cannot be written: {error.strerror}", ExitCode.CANNOT_TELL)
    return EXIT_CODES[verdict]


def _report(verdict: Verdict, reason: str, found: _Found | None, as_json: bool) -> None:
    if as_json:
        print_json_line(
            {
                "verdict": verdict.value,
                "reason": reason,
                "entry": None if found is None else found.entry.as_dict(),
                "size": None if found is None else found.checkpoint.size,
                "root": None if found is None else found.checkpoint.root.hex(),
                "origin": None if found is None else found.checkpoint.origin,
                "key": None if found is None else str(found.key),
            }
        )
        return
    say(f"{WORDS[verdict]}: {one_line(reason)}")
    if found is not None:
        for name, value in found.entry._asdict().items():
            if value not in {None, "", "{}"}:
                say(f"  {name:11}{one_line(str(value))}")
