"""What the rest of the proxy calls to put something on record. Durable before the effect: await the intent first."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict

from mycelos.ledger.entry import Entry, EntryError, Phase, make_draft
from mycelos.ledger.events import EVENTS, Event, Source
from mycelos.ledger.verify import Verification, verify
from mycelos.proxy.ledger.queue import Append, QueueFullError
from mycelos.proxy.ledger.reader import Filter, LedgerReader
from mycelos.proxy.ledger.recovery import Recovery, examine
from mycelos.proxy.ledger.writer import LedgerWriter, Results, WriteError
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Unpack

    from mycelos.ledger.chain import Head
    from mycelos.ledger.entry import Draft
    from mycelos.proxy.ledger.clock import Moment
    from mycelos.wire.audit import AppendRequest

MAC_KEY_LENGTH: Final = 32


class About(TypedDict, total=False):
    """What an entry may say besides its event. Absent text is empty.

    ``args_digest`` is the SHA-256, in hex, of a call's arguments; the ledger keeps an HMAC of it only.
    ``details`` may hold the fields of the event's rule (`mycelos.ledger.events`) and no other.
    """

    principal: str
    actor: str
    run: str
    agent: str
    subject: str
    outcome: str
    reason: str
    args_digest: str | None
    details: Mapping[str, Any] | None


@dataclass(frozen=True)
class Receipt:
    """An entry that is on disk: its place in the log, its hash in hex, and whom and what it is about."""

    seq: int
    leaf_hash: str
    event: Event
    subjects: Mapping[str, str] = field(repr=False)


class Recorder:
    """The one way onto the record. Open it with `open`; each method raises `Refusal` where nothing can be written."""

    def __init__(self, path: Path, clock: Callable[[], Moment] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._mac_key: bytes | None = None
        self._writer = LedgerWriter(path, self._deliver) if clock is None else LedgerWriter(path, self._deliver, clock)

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], Moment] | None = None) -> Recorder:
        """Open the ledger at ``path``, check its tail, and record the intents that a crash left without an outcome.

        Raises:
            LedgerError: the file is not sound or not private; the text says what to do.
            sqlite3.Error: the disk refuses.
            Refusal: the unresolved intents cannot be written.
        """
        recorder = cls(path, clock)
        try:
            recovery = await asyncio.to_thread(examine, path)
            recorder._writer.start()
            await recorder._settle(recovery)
        except BaseException:
            recorder._writer.close()
            raise
        return recorder

    @property
    def head(self) -> Head:
        """The newest entry that is on disk."""
        return self._writer.head

    def set_mac_key(self, key: bytes) -> None:
        """Give the key under which digests of arguments are kept. Until then an entry with one is refused.

        Raises:
            ValueError: the key is not 32 bytes.
        """
        if len(key) != MAC_KEY_LENGTH:
            message = f"the key must be {MAC_KEY_LENGTH} bytes"
            raise ValueError(message)
        self._mac_key = key

    async def fact(self, event: Event, **about: Unpack[About]) -> Receipt:
        """Record something that has happened. Durable when it returns."""
        return await self._append(self._own_draft(event, Phase.FACT, None, about))

    async def intent(self, event: Event, **about: Unpack[About]) -> Receipt:
        """Record what is about to happen. Durable when it returns; only then may the effect start."""
        return await self._append(self._own_draft(event, Phase.INTENT, None, about))

    def outcome(
        self, intent: Receipt, *, outcome: str, reason: str = "", details: Mapping[str, Any] | None = None
    ) -> asyncio.Future[Receipt]:
        """Queue what came of ``intent`` into the next group commit; whom it is about is taken from the intent.

        The future ends when it is durable, or with a `Refusal`. It may be left alone: an intent whose outcome could
        not be written shows up as `intent.unresolved` at the next start.
        """
        about = About(outcome=outcome, reason=reason, details=details)
        about.update(intent.subjects)  # type: ignore[typeddict-item]  # five of About's own texts
        future = self._append(self._own_draft(intent.event, Phase.OUTCOME, intent.seq, about))
        future.add_done_callback(_look_at)
        return future

    async def append_claimed(self, request: AppendRequest) -> AppendReceipt:
        """The gateway's door: the source is ``gateway`` whatever the body says.

        Raises:
            Refusal: `forbidden` for an event of another source, `invalid_request` for one that does not fit,
                `audit_unavailable` where nothing can be written.
        """
        event = _claimable(request.event)
        phase = Phase(request.phase)
        if phase is Phase.OUTCOME:
            await self._check_claimed_intent(request.intent_seq, event)
        about = About(
            principal=request.principal or "",
            actor=request.actor or "",
            run=request.run or "",
            agent=request.agent or "",
            subject=request.subject or "",
            outcome=request.outcome or "",
            reason=request.reason or "",
            args_digest=request.args_digest,
            details=request.details,
        )
        try:
            draft = self._draft(event, phase, request.intent_seq, about)
        except EntryError as error:
            _refuse_invalid(str(error))
        receipt = await self._append(draft)
        return AppendReceipt(seq=receipt.seq, leaf_hash=receipt.leaf_hash, checkpoint=None)

    async def events(
        self,
        *,
        after: int | None = None,
        limit: int = 100,
        suspicious: bool = False,
        since: str | None = None,
        event: str | None = None,
        agent: str | None = None,
        run: str | None = None,
    ) -> list[Entry]:
        """Entries in the order of the log: the first ``limit`` after ``after``, or else the newest ``limit``.

        ``since`` is RFC 3339 in UTC; ``event`` a name or an area. Works while nothing can be written.

        Raises:
            LedgerError: the file cannot be read as a ledger.
        """
        wanted = Filter(suspicious=suspicious, since=since, event=event, agent=agent, run=run)
        return await asyncio.to_thread(self._read, after, limit, wanted)

    async def verify(self, remembered: Mapping[str, Head]) -> Verification:
        """Walk the whole log; one that does not hold is itself put on record."""
        result = await asyncio.to_thread(self._verify, remembered)
        if result.fault is not None:
            await self.fact(
                Event.LEDGER_VERIFY_FAILED,
                outcome=result.verdict.value,
                reason=result.reason,
                details={"seq": result.fault.seq, "count": result.entries},
            )
        return result

    async def close(self) -> None:
        """Write what waits and close the file."""
        await asyncio.to_thread(self._writer.close)

    async def _settle(self, recovery: Recovery) -> None:
        drafts = recovery.drafts()
        if drafts:
            await self._submit(drafts)

    def _own_draft(self, event: Event, phase: Phase, intent_seq: int | None, about: About) -> Draft:
        if EVENTS[event].source not in {Source.PROXY, Source.OPERATOR}:
            message = f"{event.value} is for another source to say"
            raise ValueError(message)
        return self._draft(event, phase, intent_seq, about)

    def _draft(self, event: Event, phase: Phase, intent_seq: int | None, about: About) -> Draft:
        texts = {name: about.get(name, "") for name in _TEXTS}
        args_mac = self._mac(about.get("args_digest"))
        return make_draft(
            event,
            phase,
            tenant=DEFAULT_TENANT,
            intent_seq=intent_seq,
            args_mac=args_mac,
            details=about.get("details"),
            **texts,  # type: ignore[arg-type]  # each is a text of About
        )

    def _mac(self, digest: str | None) -> str | None:
        if digest is None:
            return None
        if self._mac_key is None:
            _refuse_unavailable("the key for digests of arguments is not there")
        return hmac.new(self._mac_key, bytes.fromhex(digest), hashlib.sha256).hexdigest()

    def _append(self, draft: Draft) -> asyncio.Future[Receipt]:
        future: asyncio.Future[Receipt] = self._loop.create_future()

        def hand_over(done: asyncio.Future[list[Entry]]) -> None:
            if future.cancelled():
                return
            error = done.exception()
            if error is not None:
                future.set_exception(error)
                return
            (entry,) = done.result()
            future.set_result(_receipt(entry))

        self._submit((draft,)).add_done_callback(hand_over)
        return future

    def _submit(self, drafts: tuple[Draft, ...]) -> asyncio.Future[list[Entry]]:
        future: asyncio.Future[list[Entry]] = self._loop.create_future()
        try:
            self._writer.submit(Append(drafts, future))
        except QueueFullError:
            future.set_exception(_unavailable("too much waits to be recorded"))
        return future

    def _deliver(self, results: Results) -> None:
        # On the writer's thread: one wake-up of the loop for the whole group.
        self._loop.call_soon_threadsafe(_resolve, results)

    def _read(self, after: int | None, limit: int, wanted: Filter) -> list[Entry]:
        with LedgerReader(self._path) as reader:
            return reader.newest(limit, wanted) if after is None else reader.after(after, limit, wanted)

    def _verify(self, remembered: Mapping[str, Head]) -> Verification:
        with LedgerReader(self._path) as reader:
            return verify(reader.rows(), remembered)

    async def _check_claimed_intent(self, seq: int | None, event: Event) -> None:
        found = None if seq is None else await asyncio.to_thread(self._entry, seq)
        if found is None or (found.phase, found.source, found.event) != (Phase.INTENT, Source.GATEWAY, event):
            _refuse_invalid(f"intent_seq does not name an intent of {event.value} by the gateway")

    def _entry(self, seq: int) -> Entry | None:
        with LedgerReader(self._path) as reader:
            return reader.entry(seq)


_SUBJECTS: Final = ("principal", "actor", "run", "agent", "subject")
_TEXTS: Final = (*_SUBJECTS, "outcome", "reason")


def _receipt(entry: Entry) -> Receipt:
    subjects = MappingProxyType({name: getattr(entry, name) for name in _SUBJECTS})
    return Receipt(entry.seq, entry.leaf_hash, Event(entry.event), subjects)


def _resolve(results: Results) -> None:
    for append, result in results:
        future = append.waiter
        if not isinstance(future, asyncio.Future) or future.done():
            continue
        if isinstance(result, WriteError):
            future.set_exception(_unavailable(str(result)))
        elif isinstance(result, EntryError):
            future.set_exception(_too_large(str(result)))
        else:
            future.set_result(result)


def _look_at(future: asyncio.Future[Receipt]) -> None:
    # Reading the exception tells asyncio that leaving the future alone is meant.
    if not future.cancelled():
        future.exception()


def _claimable(name: str) -> Event:
    try:
        event = Event(name)
    except ValueError:
        _refuse_invalid("event is not one that the ledger knows")
    if EVENTS[event].source is not Source.GATEWAY:
        raise Refusal(
            ProblemCode.FORBIDDEN,
            f"{event.value} is not an event that the gateway may record",
            "Record only events whose source is the gateway; mycelos.ledger.events lists them.",
        )
    return event


def _unavailable(detail: str) -> Refusal:
    return Refusal(
        ProblemCode.AUDIT_UNAVAILABLE,
        f"Nothing is done that cannot be recorded: {detail}",
        "Check the disk and the proxy's log, then try again; mycelos doctor shows what is wrong.",
    )


def _too_large(detail: str) -> Refusal:
    return Refusal(ProblemCode.TOO_LARGE, detail, "Record a digest of large content instead of the content.")


def _refuse_unavailable(detail: str) -> NoReturn:
    raise _unavailable(detail)


def _refuse_invalid(detail: str) -> NoReturn:
    raise Refusal(
        ProblemCode.INVALID_REQUEST, detail, "Correct the entry; mycelos.ledger.events lists what each event holds."
    )
