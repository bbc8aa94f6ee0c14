"""What a page sees of a run, in order.

The shape of ``data`` for each kind:

- ``token``: ``{"text"}``, a piece of what the model writes.
- ``tool_call``: ``{"id", "tool", "args"}``; ``args`` is an object or null (the model wrote no JSON object).
- ``tool_result``: ``{"id", "tool", "ok", "code", "content", "labels"}``; a refusal has ``ok`` false, its code
  (``policy_denied``, ...) and the plain reason as content.
- ``approval``: ``{"id", "tool", "args", "approval", "expires_at"}``; a person must decide, at the vault page or by
  ``mycelos approval``, the request that ``approval`` names. ``id`` is that of the call, or of the question to the model
  (``tool`` is ``model.request`` then). Whatever follows says that the wait is over.
- ``done``: ``{"text", "code"}``, last, after an answer; ``code`` is ``answered``.
- ``error``: ``{"code", "detail", "next"}``, last, after a failure, a crash or a cancel (``code`` ``cancelled``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class EventKind(StrEnum):
    """The names of the server-sent events."""

    TOKEN = "token"  # noqa: S105 - the name of an event
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    APPROVAL = "approval"
    DONE = "done"
    ERROR = "error"


LAST_KINDS: Final = frozenset({EventKind.DONE, EventKind.ERROR})


@dataclass(frozen=True)
class RunEvent:
    """One event; ``sequence`` grows within a run and is what `Last-Event-ID` names."""

    sequence: int
    kind: EventKind
    data: dict[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.kind in LAST_KINDS
