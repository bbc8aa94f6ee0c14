"""What the rest of the proxy calls to put something on record. Durable before the effect: await the intent first."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import deque
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from mycelos.ledger.entry import Entry, EntryError, Phase, make_draft
from mycelos.ledger.events import EVENTS, UNSIGNED, Event, Source
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.clock import read_clock
from mycelos.proxy.ledger.keys import LedgerKeys, origin_of
from mycelos.proxy.ledger.limits import LimitedError
from mycelos.proxy.ledger.queue import Append, QueueFullError
from mycelos.proxy.ledger.recovery import Recovery, examine
from mycelos.proxy.ledger.refusals import invalid, not_claimable, refusal_of, unavailable
from mycelos.proxy.ledger.signed_end import demand_signed_end, demand_unused
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.ledger.view import LedgerView
from mycelos.proxy.ledger.writer import LedgerWriter, Result, Results, WriteError
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from mycelos.ledger.chain import Head
    from mycelos.ledger.entry import Draft
    from mycelos.ledger.verify import Evidence, Verification
    from mycelos.proxy.ledger.clock import Moment
    from mycelos.wire.audit import AppendRequest


IN_A_ROUND: Final = 16
"""How many of a group are answered in the first round of the event loop; then it depends on what rounds take."""

MOST_IN_A_ROUND: Final = 512

ROUND: Final = 0.002
"""Seconds that a round of answers and of what they set off may take, about."""


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


class Receipt(NamedTuple):
    """An entry that is on disk: its place in the log, its hash in hex, and whom and what it is about."""

    seq: int
    leaf_hash: str
    event: Event
    subjects: Mapping[str, str]

    @classmethod
    def of(cls, entry: Entry, event: Event) -> Receipt:
        """The receipt of ``entry``."""
        subjects = MappingProxyType(dict(zip(_SUBJECTS, _subjects(entry), strict=True)))
        return cls(entry.seq, entry.leaf_hash, event, subjects)


class Recorder(LedgerView):
    """The one way onto the record. Open it with `open`; each method raises `Refusal` where nothing can be written."""

    def __init__(self, path: Path, clock: Callable[[], Moment] | None, alive: Callable[[], None] | None = None) -> None:
        super().__init__(path, alive)
        self._loop = asyncio.get_running_loop()
        self._keys: LedgerKeys | None = None
        self._origin: str | None = None
        self._admit: Callable[[Sequence[Draft]], None] | None = None
        self._in_a_round = IN_A_ROUND
        self._coming: list[Append] = []
        self._writer = LedgerWriter(path, self._deliver, clock or read_clock, alive)

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Callable[[], Moment] | None = None,
        check: Callable[[Recovery], None] | None = None,
        keys: Callable[[], LedgerKeys] | None = None,
        *,
        adopt: bool = False,
        alive: Callable[[], None] | None = None,
    ) -> Recorder:
        """Open the ledger at ``path``, check its end, and record the intents that a crash left without an outcome.

        Args:
            path: the database; it is made where there is none.
            clock: the time.
            check: sees what the last process left before any entry is written; what it raises ends the opening.
            keys: gives the vault's, once all else was found sound. Without them nothing is signed, and a log that
                was signed takes only what `UNSIGNED` lists.
            adopt: take an old copy for what it is (`mycelos backup adopt`).
            alive: called while the ledger is read, which may take long.

        Raises:
            LedgerError: the file is not sound or not private, its end is not the one that was signed, or the vault's
                key is not the one that the log names; the text says what to do.
            sqlite3.Error, OSError: the disk refuses.
            Refusal: the first entries cannot be written.
        """
        recorder = cls(path, clock, alive)
        try:
            recovery = await asyncio.to_thread(examine, path, alive)
            if check is not None:
                await asyncio.to_thread(check, recovery)
            named = await asyncio.to_thread(lambda: demand_signed_end(path, adopt=adopt))
            recorder._origin = None if named is None else named.origin
            if keys is not None:
                if named is None and not adopt:
                    await asyncio.to_thread(demand_unused, path)
                used = await asyncio.to_thread(keys)
                if named is not None:
                    named.demand_accepted(used.public_key)
                recorder.use(used)
            recorder._writer.start()
            if recorder._keys is not None and named is None:
                details = recorder._keys.declaration()
                await recorder.fact(Event.LEDGER_CHECKPOINT, outcome="ok", details=details)
            if recorder._keys is not None or named is None:
                # Without the key they would stand there unsigned: the next start that has it finds them again.
                await recorder._settle(recovery)
        except BaseException:
            recorder._writer.close()
            raise
        return recorder

    @property
    def head(self) -> Head:
        """The newest entry that is on disk."""
        return self._writer.head

    @property
    def checkpoint(self) -> str | None:
        """The newest checkpoint that was signed, as a note; None where none was."""
        return self._writer.checkpoint

    @property
    def key(self) -> VerifierKey | None:
        """The key that signs now; None where nothing is signed."""
        if self._keys is None or self._origin is None:
            return None
        return VerifierKey(self._origin, self._keys.public_key)

    def use(self, keys: LedgerKeys) -> None:
        """Sign and keep digests with ``keys`` from now on; the change stands in the log before."""
        if self._origin is None:
            self._origin = origin_of(keys.public_key)
        self._keys = keys
        self._writer.sign_with(VerifierKey(self._origin, keys.public_key), keys.sign)

    def limit_by(self, admit: Callable[[Sequence[Draft]], None]) -> None:
        """Show ``admit`` everything before it is queued; what it raises refuses it."""
        self._admit = admit

    async def fact(self, event: Event, **about: Unpack[About]) -> Receipt:
        """Record something that has happened. Durable when it returns."""
        return await self._append(self._own_draft(event, Phase.FACT, None, about))

    def note(self, event: Event, **about: Unpack[About]) -> asyncio.Future[Receipt]:
        """Queue something that has happened, where nobody can wait for it."""
        future = self._append(self._own_draft(event, Phase.FACT, None, about))
        future.add_done_callback(_look_at)
        return future

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

    async def append_claimed(
        self, request: AppendRequest, judge: Callable[[Draft], Awaitable[None]] | None = None
    ) -> AppendReceipt:
        """The gateway's door: the source is ``gateway`` whatever the body says.

        ``judge`` is shown the entry as it would be written, once it is known to be one; what it raises refuses it.

        Raises:
            Refusal: `forbidden` for an event of another source, `invalid_request` for one that does not fit,
                `audit_unavailable` where nothing can be written, and what ``judge`` raises.
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
            raise invalid(str(error)) from None
        if judge is not None:
            await judge(draft)
        receipt = await self._append(draft)
        return AppendReceipt(seq=receipt.seq, leaf_hash=receipt.leaf_hash, checkpoint=self._writer.checkpoint)

    async def verify(self, remembered: Mapping[str, Evidence]) -> Verification:
        """Walk the whole log; one that does not hold is itself put on record."""
        result = (await asyncio.to_thread(verify_ledger, self._path, remembered)).result
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
        self._hand_over()
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
        args_mac = self._mac(about.pop("args_digest", None))
        return make_draft(
            event,
            phase,
            tenant=DEFAULT_TENANT,
            intent_seq=intent_seq,
            args_mac=args_mac,
            **about,  # type: ignore[misc]  # without the digest these are its own names
        )

    def _mac(self, digest: str | None) -> str | None:
        if digest is None:
            return None
        if self._keys is None:
            raise unavailable(_NO_KEY)
        return hmac.new(self._keys.mac_key, bytes.fromhex(digest), hashlib.sha256).hexdigest()

    def _append(self, draft: Draft) -> asyncio.Future[Receipt]:
        return self._submit((draft,))

    def _submit(self, drafts: tuple[Draft, ...]) -> asyncio.Future[Receipt]:
        """Queue ``drafts``, which belong together; the future gives the receipt of the first."""
        future: asyncio.Future[Receipt] = self._loop.create_future()
        if self._origin is not None and self._keys is None and any(draft.event not in UNSIGNED for draft in drafts):
            future.set_exception(unavailable(_NO_KEY))
            return future
        try:
            if self._admit is not None:
                self._admit(drafts)
        except LimitedError as limited:
            future.set_exception(limited)
            if limited.report:
                details = {"code": limited.problem.code.value, "count": limited.report}
                _ = self.note(Event.LEDGER_LIMITED, subject=limited.source.value, outcome="refused", details=details)
            return future
        self._coming.append(Append(drafts, future))
        if len(self._coming) == 1:
            # Behind all that this round of the loop still brings: then it shows what is alone.
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        coming, self._coming = self._coming, []
        if len(coming) == 1 and self._write_now(coming[0]):
            return
        for append in coming:
            try:
                self._writer.submit(append)
            except QueueFullError:
                _answer([(append, WriteError("too much waits to be recorded"))])

    def _write_now(self, append: Append) -> bool:
        results: Results | None = [(append, WriteError("the ledger's writer has ended"))]
        try:
            results = self._writer.write_now(append)
        finally:
            # Whatever happens, nobody is left waiting.
            if results is not None:
                _answer(results)
        return results is not None

    def _deliver(self, results: Results) -> None:
        # On the writer's thread: one wake-up of the loop for the whole group.
        self._loop.call_soon_threadsafe(self._resolve, results)

    def _resolve(self, results: Results) -> None:
        """Answer the operator, then the others, so many in a round: each goes on to work of its own."""
        first: Results = []
        others: deque[tuple[Append, Result]] = deque()
        for append, result in results:
            (first if append.drafts[0].source is Source.OPERATOR else others).append((append, result))
        _answer(first)
        self._resolve_some(others)

    def _resolve_some(self, results: deque[tuple[Append, Result]]) -> None:
        began = time.monotonic()
        _answer([results.popleft() for _ in range(min(self._in_a_round, len(results)))])
        # Behind all that has just been set off.
        self._loop.call_soon(self._go_on, results, began)

    def _go_on(self, results: deque[tuple[Append, Result]], began: float) -> None:
        if time.monotonic() - began > ROUND:
            self._in_a_round = max(1, self._in_a_round // 2)
        elif results:
            self._in_a_round = min(MOST_IN_A_ROUND, self._in_a_round * 2)
        if results:
            self._resolve_some(results)

    async def _check_claimed_intent(self, seq: int | None, event: Event) -> None:
        found = None if seq is None else await self.entry(seq)
        if found is None or (found.phase, found.source, found.event) != (Phase.INTENT, Source.GATEWAY, event):
            detail = f"intent_seq does not name an intent of {event.value} by the gateway"
            raise invalid(detail)


_NO_KEY: Final = "the vault's key for the ledger is not there"
_SUBJECTS: Final = ("principal", "actor", "run", "agent", "subject")
_subjects = attrgetter(*_SUBJECTS)


def _answer(results: Results) -> None:
    for append, result in results:
        future = append.waiter
        if not isinstance(future, asyncio.Future) or future.done():
            continue
        if isinstance(result, list):
            future.set_result(Receipt.of(result[0], append.drafts[0].event))
        else:
            future.set_exception(refusal_of(result))


def _look_at(future: asyncio.Future[Receipt]) -> None:
    # Reading the exception tells asyncio that leaving the future alone is meant.
    if not future.cancelled():
        future.exception()


def _claimable(name: str) -> Event:
    try:
        event = Event(name)
    except ValueError:
        detail = "event is not one that the ledger knows"
        raise invalid(detail) from None
    if EVENTS[event].source is not Source.GATEWAY:
        raise not_claimable(event.value)
    return event
