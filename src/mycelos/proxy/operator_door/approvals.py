"""Routes of the operator's door: requests that wait for a person, shown as they will be sent, decided once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from mycelos.ledger.events import Event
from mycelos.proxy.operator_door.answers import answer, read_message
from mycelos.proxy.operator_door.views import Decided, approval_details, approval_view
from mycelos.wire import operator as messages
from mycelos.wire.approvals import ApprovalList, DecideApproval

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mycelos.proxy.egress.approval_check import Held
    from mycelos.proxy.egress.approvals import Approvals
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.lockdown import Lockdown
    from mycelos.proxy.operator_door.recorded import RecordedChange
    from mycelos.proxy.vault.store import Vault

JudgeAssertion = Callable[[Mapping[str, Any] | None, str], Awaitable[str]]
"""Given a passkey's assertion, or None, and the digest that it must be over: the passkey's id, empty for none.

It raises `Refusal` where that will not do.
"""


def note_end(recorder: Recorder, held: Held, why: str) -> None:
    """Put on record that a request ended undecided, or its approval unused; nobody waits for the entry."""
    run, agent, _ = held.asker
    _ = recorder.note(
        Event.CONFIRM_EXPIRED, run=run, agent=agent, outcome="expired", reason=why, details=approval_details(held)
    )


def forget_outdated(approvals: Approvals, vault: Vault, lockdown: Lockdown) -> None:
    """End what a change of the operator's has overtaken: all in a lockdown, else what another credential was shown for.

    What stays is compared again when it is sent: this only keeps people from deciding what cannot go any more.
    """
    if lockdown.state.locked:
        approvals.forget("lockdown", lambda _: False)
        return
    # A credential whose record was altered is none of these.
    current = {(credential.id, credential.version) for credential in vault.list()}
    approvals.forget("credential_changed", lambda asked: (asked.credential_id, asked.credential_version) in current)


class ApprovalRoutes:
    """Listing, and one decision for each request."""

    def __init__(self, approvals: Approvals, change: RecordedChange, judge_assertion: JudgeAssertion) -> None:
        self._approvals = approvals
        self._change = change
        self._judge_assertion = judge_assertion

    def routes(self) -> list[Route]:
        """/approval/list and /approval/decide."""
        return [
            Route("/approval/list", self._list, methods=["POST"]),
            Route("/approval/decide", self._decide, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        await read_message(request, messages.Empty)
        waiting = self._approvals.waiting()
        views = tuple(approval_view(held, held.asked) for held in waiting if held.asked is not None)
        return answer(ApprovalList(approvals=views))

    async def _decide(self, request: Request) -> Response:
        wanted: DecideApproval = await read_message(request, DecideApproval)
        is_approved = wanted.decision == "approve"
        held = self._approvals.find(wanted.id)

        async def decide() -> Decided:
            # To refuse takes no passkey: a signature over the digest therefore only ever says yes.
            passkey_id = await self._judge_assertion(wanted.assertion, wanted.digest) if is_approved else ""
            self._approvals.decide(wanted.id, wanted.digest, is_approved=is_approved)
            return Decided(passkey_id)

        await self._change(
            Event.CONFIRM_GRANTED if is_approved else Event.CONFIRM_REFUSED,
            "" if held is None or held.asked is None else held.asked.service,
            {"approval_id": wanted.id} if held is None else approval_details(held),
            decide,
        )
        return answer(messages.Empty())
