"""Which entries no flood may hold up or keep out: the operator's, the proxy's own, and the end of what has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger.entry import Phase
from mycelos.ledger.events import Event, Source

if TYPE_CHECKING:
    from mycelos.ledger.entry import Draft

_OWN: Final = frozenset(
    {
        Event.CLOCK_STEPPED,
        Event.CONFIRM_EXPIRED,
        Event.EGRESS_OPENED,
        Event.INTENT_UNRESOLVED,
        Event.LEDGER_CHECKPOINT,
        Event.LEDGER_LIMITED,
        Event.LEDGER_VAULT_STATED,
        Event.LEDGER_VERIFY_FAILED,
        Event.LEDGER_WITNESSED,
        Event.LEDGER_WITNESS_DISAGREED,
        Event.LEDGER_WITNESS_FAILED,
        Event.PROXY_RESPONSE_SCRUBBED,
        Event.PROXY_STARTED,
        Event.SANDBOX_WALL_WAIVED,
    }
)
"""What the proxy says of itself, or once of a request whose intent is on record. Nobody can call for many of them.

The rest of what has the source ``proxy`` is written because of a request at the gateway's door, as often as it is sent.
"""

_FROM_STRANGERS: Final = frozenset({Event.OPERATOR_LOGIN_FAILED})
"""What has the source ``operator`` and is written because of somebody who is not signed in."""


def comes_first(draft: Draft) -> bool:
    """Whether ``draft`` is such an entry. What is not listed is none."""
    if draft.source is Source.OPERATOR:
        return draft.event not in _FROM_STRANGERS
    return draft.source is Source.PROXY and (draft.phase is Phase.OUTCOME or draft.event in _OWN)
