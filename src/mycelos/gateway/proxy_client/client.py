"""What the gateway asks of the proxy, each with its refusal."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx2
import msgspec

from mycelos.gateway.proxy_client.head_follower import HeadFollower
from mycelos.gateway.proxy_client.transport import PROXY_ORIGIN, ProxyTransport
from mycelos.wire.audit import (
    AppendReceipt,
    AppendRequest,
    AuditSummary,
    ConsistencyAnswer,
    InclusionAnswer,
    NewestCheckpoint,
)
from mycelos.wire.decoding import decode_json
from mycelos.wire.egress import CredentialSummary, HttpAnswer, HttpCall
from mycelos.wire.problems import MEDIA_TYPE, Problem, ProblemCode, Refusal
from mycelos.wire.secret_check import SecretCheck, SecretCheckAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mycelos.gateway.proxy_client.head import Kept, RememberedHead
    from mycelos.gateway.proxy_client.network import Connector

Answer = TypeVar("Answer")

_APPEND_SECONDS: Final = 10.0
_SHORT_SECONDS: Final = 10.0
_HTTP_SECONDS: Final = 60.0
_LAST_PROOF_SECONDS: Final = 2.0
# The proxy answers a call somewhat after its own time limit, never much.
_MARGIN_SECONDS: Final = 10.0


class _Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    credentials: list[CredentialSummary]


class _Entries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: list[dict[str, Any]]


class ProxyClient:
    """The proxy's door for the gateway. Every wait is bounded; every failure is a `Refusal`."""

    def __init__(self, connect: Connector, bearer: str, head: RememberedHead) -> None:
        self.transport = ProxyTransport(connect, bearer)
        self.head = head
        self.follower = HeadFollower(head, self.consistency)
        self._client = httpx2.AsyncClient(
            transport=self.transport, base_url=PROXY_ORIGIN, trust_env=False, follow_redirects=False
        )

    @property
    def ledger_alarm(self) -> str | None:
        """Why the ledger cannot be believed, or None: it went back, was replaced, or does not follow what it was."""
        return None if self.head.alarm is None else self.head.alarm.detail

    async def remembered(self) -> Kept | None:
        """The newest checkpoint of the ledger that this gateway saw to follow all before; None where none was given."""
        await self.follower.prove()
        return self.head.kept

    async def http(self, call: HttpCall) -> HttpAnswer:
        """One request to the outside.

        Raises:
            Refusal: what the proxy refused, or `proxy_unavailable`.
        """
        seconds = (call.timeout or _HTTP_SECONDS) + _MARGIN_SECONDS
        return await self._ask("POST", "/http", HttpAnswer, body=call, seconds=seconds)

    async def append(self, request: AppendRequest) -> AppendReceipt:
        """Write to the ledger; durable when it returns.

        Raises:
            Refusal: `audit_unavailable` where the ledger cannot be written or reached: do not act then.
        """
        floor = self.head.floor
        try:
            receipt = await self._ask("POST", "/audit/append", AppendReceipt, body=request, seconds=_APPEND_SECONDS)
        except Refusal as refusal:
            if refusal.problem.code in {ProblemCode.PROXY_UNAVAILABLE, ProblemCode.UPSTREAM_TIMEOUT}:
                raise Refusal(
                    ProblemCode.AUDIT_UNAVAILABLE,
                    "The audit ledger cannot be reached, so nothing is done",
                    "Look at the proxy's state: mycelos status",
                ) from None
            raise
        self.head.remember(receipt, floor)
        return receipt

    async def credentials(self) -> list[CredentialSummary]:
        """What the vault holds, without the secrets."""
        answer = await self._ask("POST", "/credential/list", _Credentials, seconds=_SHORT_SECONDS)
        return answer.credentials

    async def refuse_stored_secret(self, text: str) -> None:
        """Let a person's message pass only where it holds no stored secret.

        Raises:
            Refusal: `forbidden` where it holds one; what the proxy refused where it cannot be looked through.
        """
        answer = await self._ask(
            "POST", "/secret/check", SecretCheckAnswer, body=SecretCheck(text), seconds=_SHORT_SECONDS
        )
        if answer.is_held:
            raise Refusal(
                ProblemCode.FORBIDDEN,
                "The message holds a stored secret, and was not kept",
                "Rotate it: it was typed into a chat. mycelos credential rotate SERVICE",
            )

    async def audit_events(self, **query: str | int | bool) -> list[dict[str, Any]]:
        """Entries of the ledger; the query's keys are those of `GET /audit/events`."""
        answer = await self._ask(
            "GET", "/audit/events", _Entries, parameters=_parameters(query), seconds=_SHORT_SECONDS
        )
        return answer.entries

    async def audit_summary(self, **query: str) -> AuditSummary:
        """Counts of the ledger; the query's keys are those of `GET /audit/summary`."""
        return await self._ask("GET", "/audit/summary", AuditSummary, parameters=query, seconds=_SHORT_SECONDS)

    async def newest_checkpoint(self) -> NewestCheckpoint:
        """What the proxy has signed last, and with which key, as it says."""
        return await self._ask("GET", "/audit/checkpoint", NewestCheckpoint, seconds=_SHORT_SECONDS)

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The path of entry ``seq`` to the root over ``size`` entries, unchecked.

        Raises:
            Refusal: `invalid_request` where the ledger has no such entry or size.
        """
        parameters = {"seq": str(seq), "size": str(size)}
        answer = await self._ask(
            "GET", "/audit/proof/inclusion", InclusionAnswer, parameters=parameters, seconds=_SHORT_SECONDS
        )
        return _hashes(answer.path)

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """What shows that the first ``new`` entries begin with the first ``old``, unchecked.

        Raises:
            Refusal: `invalid_request` where the ledger has not so many.
        """
        parameters = {"old": str(old), "new": str(new)}
        answer = await self._ask(
            "GET", "/audit/proof/consistency", ConsistencyAnswer, parameters=parameters, seconds=_SHORT_SECONDS
        )
        return _hashes(answer.path)

    async def health(self) -> bool:
        """Whether the proxy answers."""
        try:
            answer = await self._ask("GET", "/healthz", dict[str, str], seconds=_SHORT_SECONDS)
        except Refusal:
            return False
        return answer.get("status") == "ok"

    async def close(self) -> None:
        """Close all connections and write the head down, the newest one if it can still be proven."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_PROOF_SECONDS):
                await self.follower.prove()
        await self._client.aclose()
        await self.head.write()

    async def _ask(
        self,
        method: str,
        path: str,
        answer_type: type[Answer],
        *,
        seconds: float,
        body: msgspec.Struct | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Answer:
        content = None
        if method == "POST":
            content = b"{}" if body is None else msgspec.json.encode(body)
        response = await self._client.request(
            method,
            path,
            params=parameters or None,
            content=content,
            headers=None if content is None else {"Content-Type": "application/json"},
            timeout=seconds,
        )
        if response.headers.get("content-type", "").partition(";")[0].strip() == MEDIA_TYPE:
            raise refusal_from(response.content)
        if response.status_code != httpx2.codes.OK:
            raise _not_understood()
        try:
            return decode_json(response.content, answer_type, "the proxy's answer")
        except Refusal:
            raise _not_understood() from None


def _hashes(path: list[str]) -> list[bytes]:
    # A text that is no hash is not one of the right length either, and fails where the proof is checked.
    try:
        return [base64.b64decode(text, validate=True) for text in path]
    except ValueError:
        raise _not_understood() from None


def _parameters(query: Mapping[str, str | int | bool]) -> dict[str, str]:
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()}


def refusal_from(document: bytes) -> Refusal:
    """The refusal that a problem document of the proxy stands for."""
    try:
        problem = msgspec.json.decode(document, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _not_understood()
    return Refusal(problem.code, problem.detail, problem.next, problem.approval)


def _not_understood() -> Refusal:
    return Refusal(
        ProblemCode.PROXY_UNAVAILABLE,
        "The proxy's answer was not understood",
        "Check that proxy and gateway are of one version: mycelos doctor",
    )
