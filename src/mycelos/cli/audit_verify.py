"""`mycelos db audit verify`: does the ledger hold, against what is remembered of it elsewhere?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from mycelos.cli.audit_verify_proof import verify_proof, wrong_key
from mycelos.cli.audit_witness import Witnesses
from mycelos.cli.data_directory import settings_of
from mycelos.cli.output import ExitCode, complain, fail, mute_stdout, one_line, print_json_line, say
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import open_plain_file, read_at_most
from mycelos.ledger.checkpoint import CheckpointError, parse_text
from mycelos.ledger.export import LINE_LIMIT, item_from_line
from mycelos.ledger.signed_note import NOTE_LIMIT, NoteError, VerifierKey, parse_note
from mycelos.ledger.verify import WORDS, RememberedNote, Verdict, Verification, verify
from mycelos.proxy.ledger.database import REBUILD, LedgerError, LedgerUnavailableError
from mycelos.proxy.ledger.heads import Outside, outside_of, remember, remembered_heads
from mycelos.proxy.ledger.verification import Verified, verify_ledger
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from mycelos.ledger.chain import Head
    from mycelos.ledger.verify import Evidence

GIVEN: Final = "the checkpoint that was given"


def verify_log(
    *,
    export: Annotated[Path | None, Parameter(help="Verify this exported file instead of the ledger.")] = None,
    checkpoint: Annotated[Path | None, Parameter(help="Compare with this signed note as well.")] = None,
    proof: Annotated[Path | None, Parameter(help="Verify this entry with its proof instead of the ledger.")] = None,
    key: Annotated[str | None, Parameter(help="A key of this log, known from elsewhere (a vkey).")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="The result as one JSON object.", negative="")] = False,
) -> int:
    """Walk every entry, the tree and each signature, and compare with the checkpoints remembered outside of the ledger.

    Gateway, proxy and command line each remember one; a witness is asked. Exit code 0: it holds. 1: it does not, and
    this says where; or what lies there is no ledger. 6: cannot tell: nothing is wrong, but nothing was remembered, or
    something that is needed could not be read, asked, remembered or printed.

    An export may be older than what is remembered and than --key; it is no fault that newer entries are not in it. It
    may be of another installation's log, which what is remembered here says nothing of. A checkpoint that is given must
    be in it.

    A proof is what `mycelos db audit proof 1042 --json` prints; --key says whose log the entry must be in.

    Example: mycelos db audit verify --checkpoint kept-elsewhere.note
    """
    if proof is not None:
        if export is not None or checkpoint is not None:
            return fail("--proof stands without --export and --checkpoint", ExitCode.WRONG_USAGE)
        return verify_proof(proof, key, as_json)
    settings = settings_of(os.environ)
    layout = DataLayout(settings.data_directory)
    # Read first: whatever was remembered by now must be in what is read next.
    installation = installation_of(layout.vault)
    outside = outside_of(layout, os.environ, installation)
    remembered = remembered_heads(layout, outside)
    witnesses = Witnesses(settings, layout, outside)
    evidence: dict[str, Evidence] = {**remembered.evidence, **witnesses.evidence}
    if export is not None:
        evidence = {keeper: _of_a_copy(memory) for keeper, memory in evidence.items()}
    try:
        trusted = None if key is None else VerifierKey.parse(key)
        if checkpoint is not None:
            evidence[GIVEN] = RememberedNote(_read_given(checkpoint))
    except NoteError as error:
        return wrong_key(error)
    except CheckpointError as error:
        return fail(f"--checkpoint: {error}; mycelos db audit checkpoint > FILE writes one", ExitCode.WRONG_USAGE)
    try:
        found = _verify(layout, export, evidence, trusted)
        result = found.result if export is not None else witnesses.weigh(found.result, found.checkpoint)
    except OSError as error:
        text = f"{error.filename or export or layout.ledger} cannot be read: {error.strerror}"
        return fail(f"cannot tell: {text}", ExitCode.CANNOT_TELL)
    except LedgerUnavailableError as error:
        return fail(f"cannot tell: {error}", ExitCode.CANNOT_TELL)
    except LedgerError as error:
        return fail(str(error))
    missing = [f"what {keeper} remembered cannot be read" for keeper in (*remembered.unreadable, *witnesses.unreadable)]
    if installation is None and os.path.lexists(layout.ledger):
        missing.append(f"without the vault's name nobody outside of the data folder can be asked: {layout.vault}")
    result = result.without([*witnesses.missing_of(result), *missing])
    if export is None and result.verdict is not Verdict.BROKEN and found.checkpoint is not None:
        result, is_remembered = _remember(layout, outside, found.checkpoint, result)
    else:
        is_remembered = False
    return _tell(result, as_json, is_remembered=is_remembered, is_derived=found.is_derived)


def _remember(
    layout: DataLayout, outside: Outside | None, note: str, result: Verification
) -> tuple[Verification, bool]:
    """Keep ``note`` for the next time: the result, which is no better than that, and whether it is kept."""
    is_remembered = True
    try:
        remember(layout.command_line_head, note)
    except OSError as error:
        is_remembered = False
        text = f"{layout.command_line_head} cannot be written: {error.strerror}"
        complain(text)
        result = result.without([text])
    _remember_outside(outside, note)
    return result, is_remembered


def _tell(result: Verification, as_json: bool, *, is_remembered: bool, is_derived: bool) -> int:
    """Print the result: the exit code, which never says that it holds where that could not be printed."""
    try:
        report(result, as_json, is_remembered=is_remembered, is_derived=is_derived)
    except OSError as error:
        mute_stdout()
        if result.verdict is not Verdict.BROKEN:
            return fail(f"cannot tell: standard output cannot be written: {error.strerror}", ExitCode.CANNOT_TELL)
    return result.exit_code


def _of_a_copy(memory: Evidence) -> Evidence:
    return replace(memory, binds=False) if isinstance(memory, RememberedNote) else memory


def _read_given(path: Path) -> bytes:
    """The note in a file that was named on purpose: a link or a pipe will do, and a pipe is waited for.

    Raises:
        CheckpointError: it cannot be read, or holds no checkpoint; whose it is, the log says.
    """
    try:
        with path.open("rb") as stream:
            data = read_at_most(stream, NOTE_LIMIT, path)
        parse_text(parse_note(data).text)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise CheckpointError(message) from None
    except (NoteError, CheckpointError) as error:
        message = f"{path} is no checkpoint: {error}"
        raise CheckpointError(message) from None
    return data


def _verify(
    layout: DataLayout, export: Path | None, evidence: dict[str, Evidence], trusted: VerifierKey | None
) -> Verified:
    if export is None:
        return verify_ledger(layout.ledger, evidence, trusted=trusted, progress=progress())
    with open_plain_file(export, follow=True) as stream:
        # A line that is cut there is none.
        lines = iter(partial(stream.readline, LINE_LIMIT), b"")
        return Verified(
            verify(map(item_from_line, lines), evidence, verifies, trusted=trusted, is_copy=True, progress=progress()),
            None,
        )


def progress() -> Callable[[int], None]:
    """Says on a terminal how far it is, once in 100,000 entries."""
    told = 0

    def tell(entries: int) -> None:
        nonlocal told
        if entries - told >= 100_000 and sys.stderr.isatty():
            told = entries
            say(f"  {entries:,} entries", stream=sys.stderr)

    return tell


def _remember_outside(outside: Outside | None, note: str) -> None:
    """Evidence beyond what is asked of this command: without it the answer is the same."""
    if outside is None:
        return
    try:
        remember(outside.command_line, note)
    except OSError as error:
        complain(f"{outside.command_line} cannot be written: {error.strerror}")


def report(
    result: Verification, as_json: bool = False, *, is_remembered: bool = False, is_derived: bool = False
) -> None:
    """Print what was found.

    Raises:
        OSError: standard output cannot be written.
    """
    if as_json:
        _report_json(result)
        return
    say(f"{WORDS[result.verdict]}: {one_line(result.reason)}")
    if result.fault is not None:
        say(f"  entry     {result.fault.seq}")
        say(f"  expected  {one_line(result.fault.expected)}")
        say(f"  found     {one_line(result.fault.found)}")
    say(f"  entries   {result.entries}")
    if result.head.seq >= 0:
        say(f"  head      {result.head.seq} {result.head.leaf_hash}")
        say(f"  root      {result.root.hex()}")
    if result.key is not None:
        say(f"  signed    {result.signed_size} entries, by {one_line(result.key)}")
    elif result.head.seq >= 0:
        say("  signed    nothing: no entry names a key")
    if result.verdict is Verdict.CANNOT_TELL and is_remembered:
        say("  This checkpoint is remembered now: from here on, a cut or a rewrite shows.")
    if is_derived:
        say(f"  Every entry and signature holds. {REBUILD}")


def _report_json(result: Verification) -> None:
    told: dict[str, Any] = {
        "verdict": result.verdict.value,
        "reason": result.reason,
        "entries": result.entries,
        "head": _head(result.head),
        "root": result.root.hex(),
        "signed": result.signed_size,
        "origin": result.origin,
        "key": result.key,
        "compared": list(result.compared),
        "untrusted": dict(result.untrusted),
        "another_log": list(result.another),
        "fault": asdict(result.fault) if result.fault else None,
    }
    print_json_line(told)


def _head(head: Head) -> dict[str, Any] | None:
    return {"seq": head.seq, "leaf_hash": head.leaf_hash} if head.seq >= 0 else None
