"""Route of the operator's door: one harmless request with a credential, through the same gates as everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from starlette.routing import Route

from mycelos.proxy.egress.call import EgressCall
from mycelos.proxy.egress.http_client import Deadlines
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.vault.templates import TEMPLATES, Check
from mycelos.wire import operator as messages
from mycelos.wire.binding import Binding, Method
from mycelos.wire.problems import ProblemCode, Refusal, make_problem

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.egress.exchange import Exchange
    from mycelos.proxy.vault.store import Vault

_SECONDS: Final = 20.0
_BODY_LIMIT: Final = 1024 * 1024
_PURPOSE: Final = "credential test"
_WAITS: Final = make_problem(
    ProblemCode.APPROVAL_REQUIRED,
    "A person confirms each use of it there, and a test cannot wait for that.",
    "Name another path, or let a real request come and confirm it.",
)


class EgressPort(Protocol):
    """The pipeline, as far as this route needs it."""

    def open(self, call: EgressCall) -> AbstractAsyncContextManager[Exchange]:
        """Decide, record, send."""
        ...


class CredentialTestRoutes:
    """``egress`` decides as for anybody else: nothing is allowed here that no binding allows."""

    def __init__(self, vault: Vault, egress: EgressPort) -> None:
        self._vault = vault
        self._egress = egress

    def routes(self) -> list[Route]:
        """/credential/test."""
        return [Route("/credential/test", self._test, methods=["POST"])]

    async def _test(self, request: Request) -> Response:
        wanted = await read_message(request, messages.TestCredential)
        credential = self._vault.find(wanted.service)
        if credential is None:
            raise Refusal(
                ProblemCode.NOT_FOUND,
                f"There is no credential {wanted.service}.",
                "See which there are with: mycelos credential list",
            )
        binding, check = _chosen(credential.bindings, wanted.path)
        call = _call(credential.service, binding, check)
        if binding.confirm:
            # The pipeline would hold it for a decision, and nobody would come back for it.
            return answer(messages.CredentialTested(url=call.url, refused=_WAITS))
        try:
            async with self._egress.open(call) as exchange:
                # Only the status is told: the rest of the answer is the service's, and nobody asked for it.
                status = exchange.status
                await _read_away(exchange)
        except Refusal as refusal:
            return answer(messages.CredentialTested(url=call.url, refused=refusal.problem))
        return answer(messages.CredentialTested(url=call.url, status=status))


async def _read_away(exchange: Exchange) -> None:
    size = 0
    pieces = exchange.body()
    try:
        async for piece in pieces:
            size += len(piece)
            if size > _BODY_LIMIT:
                exchange.progress.is_truncated = True
                break
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator


def _call(service: str, binding: Binding, check: Check) -> EgressCall:
    port = "" if (binding.scheme, binding.port) in {("https", 443), ("http", 80)} else f":{binding.port}"
    return EgressCall(
        method=Method.GET.value,
        url=f"{binding.scheme}://{binding.host}{port}{check.path}",
        headers=check.headers,
        body=None,
        length=None,
        service=service,
        inject_as=None,
        run="",
        agent="",
        purpose=_PURPOSE,
        door="operator",
        approval="",
        deadlines=Deadlines(first_byte=_SECONDS, idle=_SECONDS, total=_SECONDS),
    )


def _chosen(bindings: tuple[Binding, ...], path: str | None) -> tuple[Binding, Check]:
    """Where the request goes. A path that no binding covers goes to the first, and is refused there, on record."""
    if path is not None:
        check = Check(path)
        return next((binding for binding in bindings if _covers(binding, check)), bindings[0]), check
    for template in TEMPLATES.values():
        for binding in bindings:
            if template.check is not None and _is_of(binding, template.bindings) and _covers(binding, template.check):
                return binding, template.check
    raise Refusal(
        ProblemCode.INVALID_REQUEST,
        "path: no template says how this credential is tested.",
        "Name a path that the service answers to a good key alone: mycelos credential test SERVICE --path /v1/me",
    )


def _covers(binding: Binding, check: Check) -> bool:
    return Method.GET in binding.methods and check.segments[: len(binding.path)] == binding.path


def _is_of(binding: Binding, known: tuple[Binding, ...]) -> bool:
    """Whether a template makes a binding to this host that is sent in this way."""
    place = (binding.scheme, binding.host, binding.port, binding.inject)
    return any(place == (other.scheme, other.host, other.port, other.inject) for other in known)
