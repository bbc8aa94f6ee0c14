"""What the gateway claims in the ledger: facts, and intents with their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.wire.audit import AppendReceipt, AppendRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.ledger.events import Event

_LONGEST: Final = 512
_EXACT: Final = frozenset({"args_digest", "phase"})


class Recorder:
    """Writes entries through the proxy. Each method returns when the entry is durable.

    Raises:
        Refusal: `audit_unavailable`; what was to be recorded must not be done then.
    """

    def __init__(self, append: Callable[[AppendRequest], Awaitable[AppendReceipt]]) -> None:
        self._append = append

    async def fact(self, event: Event, **fields: Any) -> AppendReceipt:
        """Something that happened or was decided. ``fields`` are those of `AppendRequest`."""
        return await self._append(_request(event, fields))

    async def intent(self, event: Event, **fields: Any) -> AppendReceipt:
        """Something that is about to be done: it may start when this returns."""
        return await self._append(_request(event, {**fields, "phase": "intent"}))

    async def outcome(self, event: Event, intent: AppendReceipt, **fields: Any) -> AppendReceipt:
        """What came of an intent."""
        return await self._append(_request(event, {**fields, "phase": "outcome", "intent_seq": intent.seq}))


def _request(event: Event, fields: dict[str, Any]) -> AppendRequest:
    shortened = {
        name: value[:_LONGEST] if isinstance(value, str) and name not in _EXACT else value
        for name, value in fields.items()
    }
    return msgspec.convert({"event": event.value, **shortened}, type=AppendRequest)
