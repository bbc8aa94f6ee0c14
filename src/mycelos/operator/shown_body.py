"""The body of a request that waits, as it is shown: its lines, its exact length and its hash."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

from mycelos.operator.visible import lines_of
from mycelos.wire.approvals import ApprovalView


@dataclass(frozen=True)
class Body:
    """What is sent after the headers. ``lines`` are the text's, each with its line feed, or one of base64."""

    is_text: bool
    size: int
    sha256: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, approval: ApprovalView) -> Self | None:
        """The body, or None where there is none."""
        if approval.body_text is not None:
            sent, lines = approval.body_text.encode(), tuple(lines_of(approval.body_text))
        elif approval.body_base64 is not None:
            sent, lines = base64.b64decode(approval.body_base64, validate=True), (approval.body_base64,)
        else:
            return None
        return cls(approval.body_text is not None, len(sent), hashlib.sha256(sent).hexdigest(), lines)
