"""The one place that decides and records what leaves.

In this order, and in no other: parse -> bindings or rules -> record, durable -> resolve -> guard -> dial the address
that passed -> inject -> send -> stream back, scrubbed -> record the outcome. Who asks was settled at the door. What
raises, for whatever reason, ends in a refusal: nothing after it happens.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mycelos.ledger.events import Event
from mycelos.proxy.egress import binding_check, headers, inject
from mycelos.proxy.egress.call import EgressCall, Grant, checked_method, describe
from mycelos.proxy.egress.connection import ClosedError
from mycelos.proxy.egress.exchange import Exchange, Progress
from mycelos.proxy.egress.guard import Blocked, Guard
from mycelos.proxy.egress.http_client import HttpClient, Outgoing, fail_closed
from mycelos.proxy.egress.scrub import Scrubber
from mycelos.proxy.egress.url import CanonicalUrl, UrlError, UrlPart, parse_url
from mycelos.proxy.ledger.recorder import Receipt
from mycelos.wire.operator import ANY_HOST
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mycelos.proxy.egress.connection import UpstreamConnection
    from mycelos.proxy.egress.ports import RecorderPort, RulesPort, VaultPort
    from mycelos.proxy.egress.quota import QuotaBook
    from mycelos.proxy.egress.resolve import Resolver
    from mycelos.proxy.egress.url import IpAddress

# A URL that is wrong here is an attempt to be read as another host; elsewhere it is a mistake.
_HOSTILE_PARTS: Final = frozenset({UrlPart.WHOLE, UrlPart.SCHEME, UrlPart.HOST, UrlPart.PORT})


@dataclass(frozen=True)
class Job:
    """A request that was allowed and is on record."""

    call: EgressCall
    url: CanonicalUrl
    grant: Grant
    progress: Progress


class EgressPipeline:
    """Every request to the outside goes through `open`."""

    def __init__(
        self,
        *,
        vault: VaultPort,
        rules: RulesPort,
        recorder: RecorderPort,
        resolver: Resolver,
        guard: Guard,
        client: HttpClient,
        quotas: QuotaBook,
    ) -> None:
        self._vault = vault
        self._rules = rules
        self._recorder = recorder
        self._resolver = resolver
        self._guard = guard
        self._client = client
        self._quotas = quotas

    async def open(self, call: EgressCall) -> Exchange:
        """Decide, record, send; the answer's head has come when this returns. Close what it returns.

        Raises:
            Refusal: with the code of the gate that refused; what was refused is on record.
        """
        try:
            url, grant = self._decide(call)
        except Refusal as refusal:
            await self._record_refusal(call, refusal)
            raise
        intent = await self._record_intent(call, url, grant)
        progress = Progress(self._recorder, intent)
        with ExitStack() as undo:
            undo.callback(progress.end, "failed", ProblemCode.INTERNAL)
            try:
                addresses = await self._checked_addresses(url)
                exchange = await self._send(Job(call, url, grant, progress), addresses, undo)
            except Refusal as refusal:
                progress.end("refused" if isinstance(refusal, Blocked) else "failed", refusal.problem.code)
                if isinstance(refusal, Blocked):
                    await self._record_refusal(call, refusal, url)
                raise
            except asyncio.CancelledError:
                progress.end("cut", "abandoned")
                raise
            # From here on the exchange owns what is open; its close records the outcome.
            exchange.adopt(undo.pop_all())
            return exchange

    def _decide(self, call: EgressCall) -> tuple[CanonicalUrl, Grant]:
        method = checked_method(call.method)
        try:
            url = parse_url(call.url)
        except UrlError as error:
            _refuse_url(error)
        self._refuse_stray_placeholder(call, url)
        # What is refused whatever a binding or rule says, and needs no resolver, is refused first.
        self._guard.judge_host(url)
        if call.service is None:
            return url, self._decide_by_rules(method, url)
        credential = self._vault.find(call.service)
        if credential is None:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                "There is no credential of this name.",
                "See which there are with: mycelos credential list",
            )
        binding = binding_check.choose(credential.bindings, binding_check.Request(method, url, call.inject_as))
        self._quotas.take_request(credential.id, binding.quota)
        return url, Grant(credential, binding, "")

    def _decide_by_rules(self, method: str, url: CanonicalUrl) -> Grant:
        rule = self._rules.match(method, url.scheme, url.host, url.port)
        # The rule for every public host says nothing about a host that the operator has opened.
        if rule is None or (rule.host == ANY_HOST and self._guard.is_opened(url)):
            raise Refusal(
                ProblemCode.EGRESS_NOT_ALLOWED,
                "No egress rule allows this method at this host and port without a credential.",
                f"The operator can: mycelos egress allow {url.scheme}://{url.authority} --method {method}",
            )
        return Grant(None, None, rule.id)

    def _refuse_stray_placeholder(self, call: EgressCall, url: CanonicalUrl) -> None:
        given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in call.headers]
        # A streamed body is the caller's content from end to end; one that came as a whole message is a template.
        body = call.body if isinstance(call.body, bytes) and call.door == "http" else None
        in_path = url.has_placeholder and call.service is not None
        inject.refuse_stray_placeholder(call.url, given, body, in_path=in_path)

    async def _record_intent(self, call: EgressCall, url: CanonicalUrl, grant: Grant) -> Receipt:
        details = describe(call, url) | {"stream": call.door == "forward"}
        if grant.credential is not None and grant.binding is not None:
            details |= {
                "credential_id": grant.credential.id,
                "credential_version": grant.credential.version,
                "inject_form": inject.form_of(grant.binding.inject).partition(":")[0],
            }
        else:
            details["rule_id"] = grant.rule_id
        intent = await self._recorder.intent(
            Event.PROXY_HTTP_REQUEST, run=call.run, agent=call.agent, subject=url.host, details=details
        )
        if not isinstance(intent, Receipt):
            raise Refusal(
                ProblemCode.AUDIT_UNAVAILABLE,
                "The record gave no receipt.",
                "Check the ledger: mycelos db audit verify",
            )
        return intent

    async def _record_refusal(self, call: EgressCall, refusal: Refusal, url: CanonicalUrl | None = None) -> None:
        code = refusal.problem.code
        if code not in _RECORDED:
            return
        details = describe(call, url or _parsed_or_none(call.url)) | {"code": code.value}
        if isinstance(refusal, binding_check.Violation):
            details["reasons"] = list(refusal.fields)
        if isinstance(refusal, Blocked) and refusal.address_class:
            details["address_class"] = refusal.address_class
        await self._recorder.fact(
            _RECORDED[code], run=call.run, agent=call.agent, outcome="refused", reason=code.value, details=details
        )

    async def _checked_addresses(self, url: CanonicalUrl) -> tuple[IpAddress, ...]:
        if url.address is not None:
            found: tuple[IpAddress, ...] = (url.address,)
        else:
            found = await self._resolver.resolve(url.host, local=self._guard.is_opened(url))
        return self._guard.judge_addresses(url, found)

    async def _send(self, job: Job, addresses: tuple[IpAddress, ...], undo: ExitStack) -> Exchange:
        call, url, grant = job.call, job.url, job.grant
        outgoing = headers.outgoing(call.headers, with_credential=grant.credential is not None)
        connection, was_used = await self._client.connect(url, addresses, call.method)
        try:
            job.progress.address = str(connection.address)
            scrubber = self._scrubber(url, undo)
            try:
                await self._exchange(job, outgoing, connection)
            except ClosedError:
                # An idle connection that the host had closed: nothing was answered, so the request is sent again.
                if not was_used:
                    fail_closed()
                connection = await self._client.dial(url, addresses)
                await self._exchange(job, outgoing, connection)
            if grant.credential is not None:
                self._vault.touch(grant.credential)
            return Exchange(
                url=url,
                method=call.method,
                connection=connection,
                client=self._client,
                scrubber=scrubber,
                response_rule=None if grant.binding is None else grant.binding.response,
                deadlines=call.deadlines,
                progress=job.progress,
                record_scrubbed=lambda count: self._record_scrubbed(call, url, count),
            )
        except ClosedError:
            connection.close()
            fail_closed()
        except BaseException:
            connection.close()
            raise

    async def _exchange(self, job: Job, outgoing: headers.Headers, connection: UpstreamConnection) -> None:
        call, url, grant = job.call, job.url, job.grant
        body = self._counted(job)
        if grant.credential is None or grant.binding is None:
            request = Outgoing(call.method, url.target.encode("ascii"), outgoing, body, call.length)
        else:
            with self._vault.open_secret(grant.credential) as secret:
                target, injected = inject.inject(grant.binding.inject, secret.reveal(), url)
            names = {name for name, _ in injected}
            kept = [(name, value) for name, value in outgoing if name not in names]
            request = Outgoing(call.method, target, kept + injected, body, call.length)
        await self._client.exchange(connection, url, request, call.deadlines)

    def _scrubber(self, url: CanonicalUrl, undo: ExitStack) -> Scrubber:
        with self._vault.secrets_for_host(url.host, url.port) as secrets:
            scrubber = Scrubber(secret.reveal() for secret in secrets)
        undo.callback(scrubber.close)
        return scrubber

    def _counted(self, job: Job) -> bytes | AsyncIterator[bytes] | None:
        """The body, each piece counted against the quota before it is sent."""
        body, credential, binding = job.call.body, job.grant.credential, job.grant.binding

        def count(amount: int) -> None:
            if credential is not None:
                self._quotas.take_bytes(credential.id, None if binding is None else binding.quota, amount)
            job.progress.bytes_sent += amount

        if isinstance(body, bytes):
            count(len(body))
            return body
        return None if body is None else _count_pieces(body, count)

    async def _record_scrubbed(self, call: EgressCall, url: CanonicalUrl, count: int) -> None:
        await self._recorder.fact(
            Event.PROXY_RESPONSE_SCRUBBED,
            run=call.run,
            agent=call.agent,
            outcome="scrubbed",
            reason="",
            details=describe(call, url) | {"count": count},
        )


_RECORDED: Final = {
    ProblemCode.SSRF_BLOCKED: Event.PROXY_SSRF_BLOCKED,
    ProblemCode.BINDING_VIOLATION: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.CREDENTIAL_UNKNOWN: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.EGRESS_NOT_ALLOWED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.INJECTION_REFUSED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.APPROVAL_REQUIRED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.RATE_LIMITED: Event.PROXY_BINDING_VIOLATION,
}
"""Refusals that are put on record before anything is asked of the network, and the event of each."""


async def _count_pieces(body: AsyncIterator[bytes], count: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for piece in body:
        count(len(piece))
        yield piece


def _parsed_or_none(text: str) -> CanonicalUrl | None:
    try:
        return parse_url(text)
    except UrlError:
        return None


def _refuse_url(error: UrlError) -> NoReturn:
    if error.part in _HOSTILE_PARTS:
        raise Blocked(str(error)) from None
    raise Refusal(ProblemCode.INVALID_REQUEST, f"{error}.", "Correct the URL and send it again.") from None
