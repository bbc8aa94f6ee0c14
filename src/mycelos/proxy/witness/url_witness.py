"""The witness with a URL: the client's side of C2SP tlog-witness.

What comes back is an unknown host's word: short, and believed no further than its signature where a key is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from mycelos.configuration.environment import ConfigurationError
from mycelos.ledger.checkpoint import CheckpointError
from mycelos.ledger.cosignature import CosignerKey, cosigned_by, with_lines
from mycelos.ledger.merkle import ProofError
from mycelos.ledger.signed_note import NoteError, SignedNote
from mycelos.ledger.submission import SIZE_TYPE, Submission, parse_size
from mycelos.proxy.egress.url import CanonicalUrl, UrlError, parse_url
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.witness.log import FaultCode, WitnessFault, read_note
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.proxy.egress.post import PostAnswer
    from mycelos.proxy.witness.log import LogView

_ATTEMPTS: Final = 3
"""Requests for one checkpoint: the witness may know another size than we think, and the ledger may grow meanwhile."""


class Post(Protocol):
    """`mycelos.proxy.egress.post.GuardedPost`."""

    async def __call__(self, url: CanonicalUrl, body: bytes) -> PostAnswer:
        """Send one body; raises `Refusal`."""
        ...


@dataclass(frozen=True)
class Taken:
    """A checkpoint that the witness has cosigned, with its lines."""

    note: SignedNote
    size: int


class UrlWitness:
    """``on_taken`` is given each cosigned checkpoint, and may keep it. ``known`` entries it had cosigned before."""

    leaves = True
    """It is a request: a lockdown stops it."""

    def __init__(
        self,
        url: CanonicalUrl,
        key: CosignerKey | None,
        log: LogView,
        post: Post,
        on_taken: Callable[[Taken], Awaitable[None]] | None = None,
        *,
        known: int = 0,
    ) -> None:
        self.place = str(url)
        self._url = add_checkpoint_url(url)
        self._key = key
        self._log = log
        self._post = post
        self._on_taken = on_taken
        self._old = self._cosigned = known

    async def give(self) -> int | None:
        """Submit the newest checkpoint; the size that is cosigned now, or None where there is no checkpoint yet.

        Raises:
            WitnessFault: it was not taken.
        """
        for _ in range(_ATTEMPTS):
            if self._log.checkpoint is None:
                return None
            note, found = read_note(self._log.checkpoint)
            old = min(self._old, found.size)
            answer = await self._send(Submission(old, await self._proof(old, found.size), str(note).encode()))
            if answer.status == 200:
                await self._accept(note, answer.body, found.size)
                return found.size
            size = self._known_size(answer, old, found.size)
            # Somebody else (`mycelos db audit verify`) may have shown it a newer one: then there is one here too.
            if size > found.size and self._log.checkpoint == str(note):
                why = f"it has cosigned {size} entries, and the ledger has {found.size}: its end is missing"
                raise WitnessFault(FaultCode.END_MISSING, why, size)
            if size < self._cosigned:
                why = f"it had cosigned {self._cosigned} entries and names {size} now: it has forgotten what it saw"
                raise WitnessFault(FaultCode.FORGOTTEN, why, size)
            self._old = size
        return _invalid("it names another size each time")

    async def _proof(self, old: int, new: int) -> tuple[bytes, ...]:
        if not 0 < old < new:
            return ()
        try:
            return tuple(await self._log.consistency(old, new))
        except ProofError as error:
            raise WitnessFault(FaultCode.END_MISSING, f"the ledger is shorter than its checkpoint: {error}") from None

    async def _send(self, submission: Submission) -> PostAnswer:
        try:
            return await self._post(self._url, submission.body())
        except Refusal as refusal:
            raise WitnessFault(FaultCode.UNREACHABLE, refusal.problem.detail) from None

    async def _accept(self, note: SignedNote, lines: bytes, size: int) -> None:
        try:
            whole = with_lines(note, lines)
            if self._key is not None:
                cosigned_by(whole, self._key, verifies)
        except NoteError as error:
            raise WitnessFault(FaultCode.WRONG_COSIGNATURE, str(error)) from None
        self._old = self._cosigned = size
        if self._on_taken is not None:
            await self._on_taken(Taken(whole, size))

    def _known_size(self, answer: PostAnswer, old: int, new: int) -> int:
        """What the witness says that it has cosigned, where it says that and nothing else."""
        if answer.status == 422:
            why = f"the ledger does not begin with the {old} entries that it has cosigned"
            raise WitnessFault(FaultCode.REWRITTEN, why, old)
        if answer.status == 404:
            raise WitnessFault(FaultCode.UNKNOWN_LOG, "it does not know this log; give it the log's vkey")
        if answer.status == 403:
            raise WitnessFault(FaultCode.UNTRUSTED_KEY, "it does not trust the log's key; give it the log's vkey")
        if answer.status != 409:
            _invalid(f"it answered {answer.status}")
        size = parse_size(answer.body.removesuffix(b"\n")) if answer.media_type == SIZE_TYPE else None
        if size is None:
            _invalid("it answered 409 without a size")
        if size == old:
            if old == new:
                raise WitnessFault(FaultCode.REWRITTEN, f"it has cosigned another ledger of {size} entries", size)
            _invalid("it names the size that it was given")
        return size


def parse_witness(url: str, url_name: str, key: str | None, key_name: str) -> tuple[CanonicalUrl, CosignerKey | None]:
    """URL and key as they are set.

    Raises:
        ConfigurationError: one of them cannot be used. The text names the setting.
    """
    try:
        found = parse_url(url)
    except UrlError as error:
        message = f"{url_name}: {error}"
        raise ConfigurationError(message) from None
    if found.query is not None or found.has_placeholder:
        message = f"{url_name}: the URL of a witness has neither a query nor a placeholder"
        raise ConfigurationError(message)
    try:
        return found, None if key is None else CosignerKey.parse(key)
    except NoteError as error:
        message = f"{key_name}: {error}; `mycelos witness serve` prints the vkey of its witness"
        raise ConfigurationError(message) from None


def known_size(kept: bytes | None, key: CosignerKey | None) -> int:
    """How many entries ``kept``, a checkpoint, says that the witness with ``key`` has cosigned; 0 where it does not."""
    if kept is None or key is None:
        return 0
    try:
        note, found = read_note(kept)
        cosigned_by(note, key, verifies)
    except (NoteError, CheckpointError):
        return 0
    return found.size


def add_checkpoint_url(url: CanonicalUrl) -> CanonicalUrl:
    """Where checkpoints are submitted, below the witness's URL."""
    return parse_url(f"{str(url).rstrip('/')}/add-checkpoint")


def _invalid(why: str) -> NoReturn:
    raise WitnessFault(FaultCode.INVALID_ANSWER, f"its answer is not one of the protocol: {why}")
