"""Routes of the operator's door: passkeys enrolled, used to sign in, listed and removed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.recorded import OPERATOR
from mycelos.proxy.operator_door.views import passkey_view
from mycelos.proxy.passkeys.faults import PasskeyRefused
from mycelos.wire import operator as messages
from mycelos.wire import passkeys as passkey_messages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.operator_door.recorded import RecordedChange
    from mycelos.proxy.passkeys.store import Passkeys

_METHOD = {"method": "passkey"}


class PasskeyRoutes:
    """What the vault page asks for on behalf of a browser."""

    def __init__(self, passkeys: Passkeys, change: RecordedChange, recorder: Recorder) -> None:
        self._passkeys = passkeys
        self._change = change
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """The routes below /passkey/."""
        return [
            Route("/passkey/enrol/begin", self._begin_enrolment, methods=["POST"]),
            Route("/passkey/enrol/finish", self._finish_enrolment, methods=["POST"]),
            Route("/passkey/sign-in/begin", self._begin_sign_in, methods=["POST"]),
            Route("/passkey/sign-in/finish", self._finish_sign_in, methods=["POST"]),
            Route("/passkey/approval/begin", self._begin_approval, methods=["POST"]),
            Route("/passkey/list", self._list, methods=["POST"]),
            Route("/passkey/remove", self._remove, methods=["POST"]),
        ]

    async def _begin_enrolment(self, request: Request) -> Response:
        wanted = await read_message(request, passkey_messages.BeginEnrolment)
        options = self._passkeys.begin_enrolment(wanted.session, wanted.label)
        return answer(passkey_messages.CeremonyOptions(options=options), HTTPStatus.CREATED)

    async def _finish_enrolment(self, request: Request) -> Response:
        wanted = await read_message(request, passkey_messages.FinishEnrolment)
        passkey = await self._change(
            Event.OPERATOR_PASSKEY_ENROLLED,
            "passkey",
            _METHOD,
            lambda: self._passkeys.enrol(wanted.session, wanted.registration),
        )
        return answer(passkey_view(passkey), HTTPStatus.CREATED)

    async def _begin_sign_in(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        options = self._passkeys.begin_sign_in()
        return answer(passkey_messages.CeremonyOptions(options=options), HTTPStatus.CREATED)

    async def _finish_sign_in(self, request: Request) -> Response:
        wanted = await read_message(request, passkey_messages.FinishSignIn)
        try:
            passkey = await self._passkeys.sign_in(wanted.assertion)
        except PasskeyRefused as refused:
            details = {**_METHOD, "code": refused.fault.value}
            await self._recorder.fact(Event.OPERATOR_LOGIN_FAILED, outcome="refused", details=details)
            raise
        details = {**_METHOD, "passkey_id": passkey.id, "label": passkey.label}
        await self._recorder.fact(Event.OPERATOR_LOGIN, principal=OPERATOR, outcome="ok", details=details)
        return answer(passkey_view(passkey))

    async def _begin_approval(self, request: Request) -> Response:
        wanted = await read_message(request, passkey_messages.BeginApproval)
        return answer(passkey_messages.CeremonyOptions(options=self._passkeys.begin_approval(wanted.digest)))

    async def _list(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        views = tuple(passkey_view(passkey) for passkey in self._passkeys.list())
        return answer(passkey_messages.PasskeyList(passkeys=views))

    async def _remove(self, request: Request) -> Response:
        wanted = await read_message(request, passkey_messages.RemovePasskey)
        await self._change(
            Event.OPERATOR_PASSKEY_REMOVED,
            wanted.id,
            {**_METHOD, "passkey_id": wanted.id},
            lambda: self._passkeys.remove(wanted.id),
        )
        return answer(messages.Empty())
