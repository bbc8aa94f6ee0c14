"""What the ledger holds of a request that leaves, or was refused: the intent before, the outcome after.

Scheme, host, port and path template, sizes and reasons; never a query, a header, a body or a secret. Each text of a
call is looked through once, by `Trail.read`, and what comes of that is all that the other methods are given.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.events import Event
from mycelos.proxy.egress import binding_check, inject
from mycelos.proxy.egress.approval_check import DecidedError, MisusedError, WaitingError
from mycelos.proxy.egress.guard import Blocked
from mycelos.proxy.ledger.recorder import Receipt
from mycelos.wire.binding import Method
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mycelos.proxy.egress.approval_check import Held
    from mycelos.proxy.egress.call import EgressCall, Grant
    from mycelos.proxy.egress.ports import RecorderPort, SecretsPort
    from mycelos.proxy.egress.url import CanonicalUrl

DURABLE_SECONDS: Final = 10.0
"""How long an entry may take to be looked through, and to be durable: a disk that hangs refuses, it does not hold."""
UNREAD: Final = "[not looked through]"
"""Stands on record for a text of a refused call that could not be looked through."""
_PATH_ON_RECORD: Final = 900
_METHODS: Final = frozenset(method.value for method in Method)

_RECORDED: Final = {
    ProblemCode.SSRF_BLOCKED: Event.PROXY_SSRF_BLOCKED,
    ProblemCode.BINDING_VIOLATION: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.CREDENTIAL_UNKNOWN: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.EGRESS_NOT_ALLOWED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.INJECTION_REFUSED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.INVALID_REQUEST: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.METHOD_NOT_ALLOWED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.APPROVAL_REQUIRED: Event.PROXY_BINDING_VIOLATION,
    ProblemCode.RATE_LIMITED: Event.PROXY_BINDING_VIOLATION,
}
"""Refusals that are put on record before anything is asked of the network, and the event of each."""


class SecretHeldError(Refusal):
    """What the call says of itself holds a stored secret in plain: whoever made it knows the secret."""

    def __init__(self) -> None:
        super().__init__(
            ProblemCode.INVALID_REQUEST,
            "The URL, the run, the agent, the purpose or the service's name holds a stored secret.",
            "Rotate that credential: its secret is known outside the vault. In a URL, write {credential} in its place.",
        )


@dataclass(frozen=True)
class Said:
    """What a call says of itself, as it goes on record; ``refusal`` is why it must not go, where it must not."""

    run: str
    agent: str
    details: Mapping[str, Any]
    refusal: Refusal | None

    @property
    def host(self) -> str:
        """The host, empty where the URL was none."""
        return str(self.details.get("host", ""))

    def demand_clean(self) -> None:
        """Refuse what holds a stored secret, or could not be looked through.

        Raises:
            Refusal: `invalid_request`, `rate_limited`, `vault_unavailable`.
        """
        if self.refusal is not None:
            raise self.refusal


class Progress:
    """What is known of a recorded request so far. The first `end` counts; later ones change nothing."""

    def __init__(self, recorder: RecorderPort, intent: Receipt) -> None:
        self._recorder = recorder
        self._intent = intent
        self.started = time.monotonic()
        self._is_ended = False
        self.recorded: asyncio.Future[Receipt] | None = None
        self.address = ""
        self.status = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.is_truncated = False

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the intent was on record."""
        return int((time.monotonic() - self.started) * 1000)

    def end(self, outcome: str, reason: str = "") -> None:
        """Queue the outcome."""
        if self._is_ended:
            return
        self._is_ended = True
        details: dict[str, Any] = {"bytes_sent": self.bytes_sent, "elapsed_ms": self.elapsed_ms}
        if self.address:
            details["address"] = self.address
        if self.status:
            details |= {"status": self.status, "bytes_received": self.bytes_received, "truncated": self.is_truncated}
        self.recorded = self._recorder.outcome(self._intent, outcome=outcome, reason=str(reason), details=details)

    async def durable(self) -> None:
        """Wait until the outcome is on disk.

        Raises:
            Refusal: `audit_unavailable`; then the answer must not end as if it were.
        """
        if self.recorded is None:
            raise _no_receipt()
        await _durable(self.recorded)


class Trail:
    """Writes the entries of egress."""

    def __init__(self, recorder: RecorderPort, secrets: SecretsPort) -> None:
        self._recorder = recorder
        self._secrets = secrets

    async def read(self, call: EgressCall, url: CanonicalUrl | None) -> Said:
        """Look through what ``call`` says of itself; ``url`` is None where the text was none."""
        texts = _texts(call, url)
        refusal: Refusal | None = None
        clean: Mapping[str, str]
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                # The operator has the vault, and guesses nothing.
                found = await self._secrets.clean(texts, counted=call.door != "operator")
        except TimeoutError:
            clean, refusal = _unread(texts), _too_slow()
        except Refusal as unread:
            clean, refusal = _unread(texts), unread
        else:
            clean, refusal = found.texts, SecretHeldError() if found.held else None
        return Said(clean.get("run", ""), clean.get("agent", ""), _details(call, url, clean), refusal)

    async def intent(self, said: Said, grant: Grant, size: int) -> Progress:
        """Put on record that a call is about to leave, ``size`` bytes of it chosen by the caller; durable.

        Raises:
            Refusal: `audit_unavailable`; then nothing leaves.
        """
        details: dict[str, Any] = {**said.details, "stream": said.details["door"] == "forward"}
        if grant.credential is not None and grant.binding is not None:
            details |= {
                "credential_id": grant.credential.id,
                "credential_version": grant.credential.version,
                "inject_form": inject.form_of(grant.binding.inject).partition(":")[0],
            }
            if grant.approval is not None:
                details["approval_id"] = grant.approval.id
        elif grant.rule is not None:
            details["rule_id"] = grant.rule.id
        if grant.is_web:
            details |= {"web": True, "url_bytes": size}
        intent = await _durable(
            self._recorder.intent(
                Event.PROXY_HTTP_REQUEST, run=said.run, agent=said.agent, subject=said.host, details=details
            )
        )
        return Progress(self._recorder, intent)

    async def refused(self, said: Said, refusal: Refusal) -> None:
        """Put a refusal on record."""
        code = refusal.problem.code
        # That a person was asked, and what they said, is on record as such.
        if code not in _RECORDED or isinstance(refusal, WaitingError | DecidedError):
            return
        event = Event.PROXY_SECRET_REFUSED if isinstance(refusal, SecretHeldError) else _RECORDED[code]
        details: dict[str, Any] = {**said.details, "code": code.value}
        if isinstance(refusal, binding_check.Violation | MisusedError):
            details["reasons"] = list(refusal.fields)
        if isinstance(refusal, Blocked) and refusal.address_class:
            details["address_class"] = refusal.address_class
        await _durable(
            self._recorder.fact(
                event, run=said.run, agent=said.agent, outcome="refused", reason=code.value, details=details
            )
        )

    async def asked(self, said: Said, held: Held) -> None:
        """Put on record that a person is asked about a call; durable.

        Raises:
            Refusal: `audit_unavailable`; then nobody is asked.
        """
        details = {
            **said.details,
            "approval_id": held.id,
            "request_digest": held.digest,
            "expires_at": held.expires_at,
        }
        await _durable(
            self._recorder.fact(
                Event.CONFIRM_ASKED, run=said.run, agent=said.agent, outcome="asked", reason="", details=details
            )
        )

    async def scrubbed(self, said: Said, count: int) -> None:
        """Put on record that an answer held a secret ``count`` times."""
        await _durable(
            self._recorder.fact(
                Event.PROXY_RESPONSE_SCRUBBED,
                run=said.run,
                agent=said.agent,
                outcome="scrubbed",
                reason="",
                details={**said.details, "count": count},
            )
        )


async def _durable(entry: Awaitable[Receipt]) -> Receipt:
    """Wait until an entry is on disk. Without a receipt, in time, nothing counts as recorded."""
    try:
        async with asyncio.timeout(DURABLE_SECONDS):
            receipt = await entry
    except TimeoutError:
        receipt = None
    if not isinstance(receipt, Receipt):
        raise _no_receipt()
    return receipt


def _no_receipt() -> Refusal:
    return Refusal(
        ProblemCode.AUDIT_UNAVAILABLE,
        "The ledger gave no receipt.",
        "Look at the disk and at the ledger: mycelos doctor, mycelos db audit verify",
    )


def _texts(call: EgressCall, url: CanonicalUrl | None) -> dict[str, str]:
    """Every text of the caller's choice by its name; the query, which no record holds, among them."""
    texts = {"run": call.run, "agent": call.agent, "purpose": call.purpose, "service": call.service or ""}
    return texts if url is None else texts | {"host": url.host, "path": url.path, "query": url.query or ""}


def _unread(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: UNREAD for name, text in texts.items() if text}


def _too_slow() -> Refusal:
    return Refusal(
        ProblemCode.VAULT_UNAVAILABLE,
        f"Stored secrets could not be looked for within {DURABLE_SECONDS:g} seconds.",
        "Send it again; mycelos doctor shows what is wrong with the vault.",
    )


def _details(call: EgressCall, url: CanonicalUrl | None, clean: Mapping[str, str]) -> dict[str, Any]:
    """The record's details of a call, its texts as they are in ``clean``."""
    details: dict[str, Any] = {"door": call.door}
    if call.method in _METHODS:
        details["method"] = call.method
    if call.purpose:
        details["purpose"] = clean["purpose"]
    if call.service is not None:
        details["service"] = clean.get("service", "")
    if url is not None:
        details |= {"scheme": url.scheme, "host": clean["host"], "port": url.port}
        details["path"] = clean["path"][:_PATH_ON_RECORD]
    return details
