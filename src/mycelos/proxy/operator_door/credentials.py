"""Routes of the operator's door: credentials stored, rotated, bound, deleted and listed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.views import binding_details, credential_view
from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire import operator as messages
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.operator_door.recorded import RecordedChange
    from mycelos.proxy.vault.records import Credential
    from mycelos.proxy.vault.store import Vault
    from mycelos.wire.binding import Binding


class CredentialRoutes:
    """``rotated`` is told the service whose secret has just been replaced."""

    def __init__(self, vault: Vault, change: RecordedChange, rotated: Callable[[str], None]) -> None:
        self._vault = vault
        self._change = change
        self._rotated = rotated

    def routes(self) -> list[Route]:
        """The routes below /credential/."""
        return [
            Route("/credential/store", self._store, methods=["POST"]),
            Route("/credential/rotate", self._rotate, methods=["POST"]),
            Route("/credential/bind", self._bind, methods=["POST"]),
            Route("/credential/delete", self._delete, methods=["POST"]),
            Route("/credential/confirm", self._confirm, methods=["POST"]),
            Route("/credential/list", self._list, methods=["POST"]),
            Route("/credential/templates", self._templates, methods=["POST"]),
        ]

    async def _store(self, request: Request) -> Response:
        wanted = await read_message(request, messages.StoreCredential)
        bindings = _with_confirm(_template_bindings(wanted), wanted.confirm)
        credential = await self._change(
            Event.CREDENTIAL_STORED,
            wanted.service,
            binding_details(wanted.label or wanted.service, bindings),
            lambda: self._vault.store(wanted.service, wanted.label or wanted.service, bindings, wanted.secret),
        )
        return answer(credential_view(credential), HTTPStatus.CREATED)

    async def _rotate(self, request: Request) -> Response:
        wanted = await read_message(request, messages.RotateCredential)

        async def rotate() -> Credential:
            credential = await self._vault.rotate(wanted.service, wanted.secret)
            # Who rotates a secret gives the old one up: what is on its way with it ends, whatever the ledger says next.
            self._rotated(wanted.service)
            return credential

        credential = await self._change(Event.CREDENTIAL_ROTATED, wanted.service, {}, rotate)
        return answer(credential_view(credential))

    async def _bind(self, request: Request) -> Response:
        wanted = await read_message(request, messages.BindCredential)
        credential = await self._change(
            Event.CREDENTIAL_BOUND,
            wanted.service,
            binding_details(wanted.label, wanted.bindings),
            lambda: self._vault.bind(wanted.service, wanted.bindings, wanted.label),
        )
        return answer(credential_view(credential))

    async def _delete(self, request: Request) -> Response:
        wanted = await read_message(request, messages.DeleteCredential)
        await self._change(Event.CREDENTIAL_DELETED, wanted.service, {}, lambda: self._vault.delete(wanted.service))
        return answer(messages.Empty())

    async def _confirm(self, request: Request) -> Response:
        wanted = await read_message(request, messages.ConfirmCredential)
        known = next((one for one in self._vault.list() if one.service == wanted.service), None)
        credential = await self._change(
            Event.CREDENTIAL_CONFIRMED,
            wanted.service,
            # What it may be used for is what is confirmed.
            {} if known is None else binding_details(known.label, known.bindings),
            lambda: self._vault.confirm(wanted.service),
        )
        return answer(credential_view(credential))

    async def _list(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        views = tuple(credential_view(credential) for credential in self._vault.list())
        return answer(messages.CredentialList(credentials=views, damaged=self._vault.damaged()))

    async def _templates(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        views = tuple(
            messages.TemplateView(name=t.name, title=t.title, leaves_out=t.leaves_out, bindings=t.bindings)
            for t in TEMPLATES.values()
        )
        return answer(messages.TemplateList(templates=views))


def _template_bindings(wanted: messages.StoreCredential) -> tuple[Binding, ...]:
    if wanted.template is None:
        return wanted.bindings
    template = TEMPLATES.get(wanted.template)
    if template is None:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            "template: there is none of this name.",
            f"Use one of {', '.join(TEMPLATES)}, or name a host.",
        )
    return template.bindings


def _with_confirm(bindings: tuple[Binding, ...], confirm: bool) -> tuple[Binding, ...]:
    return tuple(msgspec.structs.replace(binding, confirm=binding.confirm or confirm) for binding in bindings)
