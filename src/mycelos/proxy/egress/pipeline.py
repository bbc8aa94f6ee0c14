"""The one place through which everything leaves.

In this order, and in no other: parse -> no stored secret in what the call says of itself -> lockdown, bindings or
rules, a person's approval -> limits -> use the approval up -> record, durable -> resolve -> guard -> dial the address
that passed -> inject -> send -> stream back, scrubbed -> record the outcome. Who asks was settled at the door. What
raises, for whatever reason, ends in a refusal: nothing after it happens.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mycelos.proxy.egress import inject
from mycelos.proxy.egress.approval_check import UnapprovedError, WaitingError
from mycelos.proxy.egress.connection import ClosedError
from mycelos.proxy.egress.decide import Decider, parse
from mycelos.proxy.egress.exchange import Exchange
from mycelos.proxy.egress.guard import Blocked, Guard
from mycelos.proxy.egress.http_client import HttpClient, Outgoing, fail_closed, fail_timeout
from mycelos.proxy.egress.scrub import Scrubber
from mycelos.proxy.egress.trail import Trail
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mycelos.proxy.egress.call import EgressCall, Grant
    from mycelos.proxy.egress.connection import UpstreamConnection
    from mycelos.proxy.egress.costly_work import CostlyWork
    from mycelos.proxy.egress.open_calls import OpenCall, OpenCalls
    from mycelos.proxy.egress.ports import ApprovalsPort, LockdownPort, RecorderPort, RulesPort, SecretsPort, VaultPort
    from mycelos.proxy.egress.quota import QuotaBook
    from mycelos.proxy.egress.resolve import Resolver
    from mycelos.proxy.egress.trail import Progress, Said
    from mycelos.proxy.egress.url import CanonicalUrl, IpAddress
    from mycelos.proxy.egress.web_budget import WebBudget

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A request that was allowed and counted."""

    call: EgressCall
    url: CanonicalUrl
    said: Said
    grant: Grant
    opened: OpenCall

    @property
    def size(self) -> int:
        """Bytes of the caller's choice that leave in the URL and the headers."""
        return len(self.url.target) + sum(len(name) + len(value) for name, value in self.grant.outgoing)


class EgressPipeline:
    """Every request to the outside goes through `open`."""

    def __init__(
        self,
        *,
        lockdown: LockdownPort,
        vault: VaultPort,
        rules: RulesPort,
        approvals: ApprovalsPort,
        recorder: RecorderPort,
        secrets: SecretsPort,
        resolver: Resolver,
        guard: Guard,
        client: HttpClient,
        quotas: QuotaBook,
        web_budget: WebBudget,
        open_calls: OpenCalls,
        costly: CostlyWork,
    ) -> None:
        self._decider = Decider(lockdown, guard, vault, rules, approvals)
        self._vault = vault
        self._approvals = approvals
        self._trail = Trail(recorder, secrets)
        self._resolver = resolver
        self._guard = guard
        self._client = client
        self._quotas = quotas
        self._web_budget = web_budget
        self._open_calls = open_calls
        self._costly = costly

    @asynccontextmanager
    async def open(self, call: EgressCall) -> AsyncIterator[Exchange]:
        """Decide, record, send; the answer's head has come when the block begins, the outcome is on record at its end.

        Raises:
            Refusal: with the code of the gate that refused; what was refused is on record. Also in the middle of the
                block, where the operator takes away what allowed the request, and at its end, where the outcome
                cannot be recorded: until then the last of the answer is held back.
        """
        with ExitStack() as admission:
            job = await self._admit(call, admission)
            progress = await self._trail.intent(job.said, job.grant, job.size)
            exchange: Exchange | None = None
            try:
                with job.opened.cuttable():
                    async with self._exchange(job, progress) as exchange:
                        yield exchange
            except Refusal as refusal:
                word = "cut" if job.opened.was_cut else "refused" if isinstance(refusal, Blocked) else "failed"
                progress.end(word, refusal.problem.code)
                if isinstance(refusal, Blocked):
                    await self._trail.refused(job.said, refusal)
                raise
            except asyncio.CancelledError:
                progress.end("cut", "abandoned")
                raise
            except BaseException:
                # With the answer in the caller's hands it was the caller who ended it.
                progress.end(*(("failed", ProblemCode.INTERNAL) if exchange is None else ("cut", "abandoned")))
                raise
            else:
                progress.end(*exchange.ending)
                await progress.durable()
            finally:
                if exchange is not None and exchange.scrubbed:
                    await self._trail.scrubbed(job.said, exchange.scrubbed)

    def shows_person(self, call: EgressCall) -> bool:
        """Whether a person may have to see ``call`` before it goes: its body must be there as a whole then."""
        return self._decider.shows_person(call)

    def recheck(self) -> None:
        """Decide again for each request that is on its way, and cut those that would not be allowed now."""
        for opened in self._open_calls.all():
            try:
                self._decider.decide(opened.call, opened.url, is_on_its_way=True)
            except Refusal as refusal:
                opened.cut(refusal)
            except Exception as error:  # noqa: BLE001 - a check that fails denies: what cannot be decided is cut
                _log.error("a request on its way could not be decided again: %s", type(error).__name__)
                opened.cut(
                    Refusal(ProblemCode.INTERNAL, "The request could not be decided again.", "See: mycelos db audit")
                )

    def cut(self, service: str) -> None:
        """End each request that is on its way with the secret that ``service`` had until now."""
        for opened in self._open_calls.all():
            if opened.call.service == service:
                opened.cut(
                    Refusal(
                        ProblemCode.CREDENTIAL_UNKNOWN,
                        "The credential was rotated while this request was on its way.",
                        "Send the request again.",
                    )
                )

    async def _admit(self, call: EgressCall, admission: ExitStack) -> Job:
        try:
            url = parse(call)
        except Refusal as refusal:
            await self._trail.refused(await self._trail.read(call, None), refusal)
            raise
        said = await self._trail.read(call, url)
        try:
            said.demand_clean()
            grant = self._decider.decide(call, url)
            # From here until its end `recheck` knows of it: there is no moment in which a change could be missed.
            job = Job(call, url, said, grant, admission.enter_context(self._open_calls.admit(call, url)))
            if grant.credential is not None and grant.binding is not None:
                self._quotas.take_request(grant.credential.id, grant.binding.quota)
            elif grant.is_web:
                self._web_budget.take(call.run, url, job.size)
            if grant.approval is not None:
                self._approvals.spend(grant.approval)
        except UnapprovedError as wish:
            raise await self._ask(call, said, wish) from None
        except Refusal as refusal:
            await self._trail.refused(said, refusal)
            raise
        return job

    async def _ask(self, call: EgressCall, said: Said, wish: UnapprovedError) -> Refusal:
        """Have a person asked, once for one request; the refusal says whom to wait for."""
        if call.approval:
            # Nobody gave this id out, at least not since the start.
            await self._trail.refused(said, wish)
        held = self._approvals.same(wish.asked)
        if held is None:
            try:
                held = self._approvals.hold(wish.asked)
            except Refusal as refusal:
                await self._trail.refused(said, refusal)
                return refusal
            try:
                await self._trail.asked(said, held)
            except BaseException:
                self._approvals.take_back(held)
                raise
        return WaitingError(held)

    @asynccontextmanager
    async def _exchange(self, job: Job, progress: Progress) -> AsyncIterator[Exchange]:
        with ExitStack() as undo:
            try:
                async with asyncio.timeout(job.call.deadlines.total):
                    addresses = await self._checked_addresses(job.url)
                    exchange = await self._send(job, addresses, progress, undo)
            except TimeoutError:
                fail_timeout()
            yield exchange

    async def _checked_addresses(self, url: CanonicalUrl) -> tuple[IpAddress, ...]:
        if url.address is not None:
            found: tuple[IpAddress, ...] = (url.address,)
        else:
            found = await self._resolver.resolve(url.host, local=self._guard.is_opened(url))
        return self._guard.judge_addresses(url, found)

    async def _send(self, job: Job, addresses: tuple[IpAddress, ...], progress: Progress, undo: ExitStack) -> Exchange:
        """Send over a connection to one of ``addresses``; ``undo`` gives back what is open at the end."""
        call, url, grant = job.call, job.url, job.grant
        exchange: Exchange | None = None
        if grant.approval is None:
            connection, was_used = await self._client.connect(url, addresses, call.method)
        else:
            # A person's word is for one request: over a connection of its own, nothing makes it two.
            connection, was_used = await self._client.dial(url, addresses), False

        def give_back() -> None:
            if exchange is not None and exchange.is_read:
                self._client.release(url, connection)
            else:
                connection.close()

        undo.callback(give_back)
        progress.address = str(connection.address)
        scrubber = undo.enter_context(closing(self._scrubber(url)))
        try:
            await self._transmit(job, connection, progress)
        except ClosedError:
            # An idle connection that the host had closed: nothing was answered, so the request is sent again.
            if not was_used:
                fail_closed()
            connection = await self._client.dial(url, addresses)
            progress.address = str(connection.address)
            try:
                await self._transmit(job, connection, progress)
            except ClosedError:
                fail_closed()
        if grant.credential is not None:
            self._vault.touch(grant.credential)
        exchange = Exchange(
            url=url,
            method=call.method,
            connection=connection,
            scrubber=scrubber,
            costly=self._costly,
            response_rule=None if grant.binding is None else grant.binding.response,
            deadlines=call.deadlines,
            progress=progress,
        )
        await exchange.look_at_head()
        return exchange

    async def _transmit(self, job: Job, connection: UpstreamConnection, progress: Progress) -> None:
        call, url, grant = job.call, job.url, job.grant
        body = self._counted(job, progress)
        if grant.credential is None or grant.binding is None:
            request = Outgoing(call.method, url.target.encode("ascii"), grant.outgoing, body, call.length)
        else:
            with self._vault.open_secret(grant.credential) as secret:
                target, injected = inject.inject(grant.binding.inject, secret.reveal(), url)
            names = {name for name, _ in injected}
            kept = [(name, value) for name, value in grant.outgoing if name not in names]
            request = Outgoing(call.method, target, kept + injected, body, call.length)
        await self._client.exchange(connection, url, request, call.deadlines)

    def _scrubber(self, url: CanonicalUrl) -> Scrubber:
        with self._vault.secrets_for_host(url.host) as secrets:
            return Scrubber(secret.reveal() for secret in secrets)

    def _counted(self, job: Job, progress: Progress) -> bytes | AsyncIterator[bytes] | None:
        """The body, each piece counted against the quota before it is sent."""
        body, credential, binding = job.call.body, job.grant.credential, job.grant.binding

        def count(amount: int) -> None:
            if credential is not None:
                self._quotas.take_bytes(credential.id, None if binding is None else binding.quota, amount)
            progress.bytes_sent += amount

        if isinstance(body, bytes):
            count(len(body))
            return body
        return None if body is None else _count_pieces(body, count)


async def _count_pieces(body: AsyncIterator[bytes], count: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for piece in body:
        count(len(piece))
        yield piece
