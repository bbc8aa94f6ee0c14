"""The one decision of a witness: does this checkpoint follow the newest one that it has cosigned of that log?

The status codes are those of C2SP tlog-witness 1.1, `add-checkpoint`; 1.0 said 409 to another root of the same size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, parse_text
from mycelos.ledger.cosignature import cosign
from mycelos.ledger.merkle import EMPTY_ROOT, ProofError, verify_consistency
from mycelos.ledger.signed_note import NoteError, VerifierKey, parse_note
from mycelos.ledger.submission import SIZE_TYPE, SubmissionError, parse_submission
from mycelos.witness.key import WitnessKey, verifies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mycelos.ledger.signed_note import SignedNote
    from mycelos.ledger.submission import Submission
    from mycelos.witness.store import WitnessStore

_log = logging.getLogger(__name__)
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """Status, body and media type."""

    status: int
    body: bytes = b""
    media_type: str = _TEXT


class Witness:
    """Cosigns the checkpoints of ``logs``: the keys of each, whose name is its origin."""

    def __init__(
        self,
        store: WitnessStore,
        key: WitnessKey,
        logs: Iterable[VerifierKey],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._trusted: defaultdict[str, list[VerifierKey]] = defaultdict(list)
        for log in logs:
            self._trusted[log.name].append(log)
        # What was compared must still be the newest when the next one is put in its place.
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request.

        Raises:
            OSError: what was cosigned cannot be read, or this cannot be put on disk. Nothing is cosigned then.
        """
        try:
            submission = parse_submission(body)
            note = parse_note(submission.note)
            found = parse_text(note.text)
        except (SubmissionError, NoteError, CheckpointError) as error:
            return Answer(400, f"{error}\n".encode())
        keys = self._trusted.get(found.origin)
        if keys is None:
            return Answer(404, b"this witness does not know that log\n")
        try:
            note.verified_by(keys, verifies)
        except NoteError as error:
            return Answer(403, f"{error}\n".encode())
        if submission.old > found.size:
            return Answer(400, b"the old size is larger than the checkpoint's\n")
        with self._lock:
            return self._judge(submission, note, found)

    def _judge(self, submission: Submission, note: SignedNote, found: Checkpoint) -> Answer:
        kept = self._store.newest(found.origin)
        known = Checkpoint(found.origin, 0, EMPTY_ROOT) if kept is None else parse_text(parse_note(kept).text)
        if submission.old != known.size:
            return Answer(409, b"%d\n" % known.size, SIZE_TYPE)
        try:
            verify_consistency(known.size, found.size, submission.proof, known.root, found.root)
        except ProofError as error:
            try:
                self._store.keep_evidence(found.origin, submission.note)
            except OSError as refused:
                # That it does not follow is the answer, kept or not.
                _log.warning("a checkpoint that proves a fork of %s is not kept: %s", found.origin, refused.strerror)
            return Answer(422, f"{error}\n".encode())
        if found.size > known.size or kept is None:
            self._store.keep(found.origin, submission.note)
        line = cosign(note.text, self._key.public, int(self._clock()), self._key.sign)
        return Answer(200, f"{line}\n".encode())
