"""A permit: the broker's word that one exact call was decided and recorded. A handler does nothing without one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rfc8785

from mycelos.gateway.runs.approval_wait import Wait, wait_for_nobody
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from mycelos.wire.audit import AppendReceipt


@dataclass
class Permit:
    """For one call, once. Made by the broker alone, after the intent's entry is durable.

    ``wait`` is through which the call's requests go to the proxy: some are sent when a person has approved them.
    """

    run_id: str
    agent: str
    tool: str
    args_digest: str
    intent: AppendReceipt
    wait: Wait = wait_for_nobody
    _is_spent: bool = field(default=False, init=False, repr=False)

    def spend(self, tool: str, args: dict[str, Any]) -> None:
        """Use the permit for this call.

        Raises:
            Refusal: `policy_denied`; it was for another call, or is used up.
        """
        if self._is_spent or tool != self.tool or digest(args) != self.args_digest:
            raise Refusal(
                ProblemCode.POLICY_DENIED,
                "This call is not the one that was decided and recorded",
                "Call the tool through the agent.",
            )
        self._is_spent = True


def digest(args: dict[str, Any]) -> str:
    """SHA-256, in hex, of the arguments' RFC 8785 form.

    Raises:
        rfc8785.CanonicalizationError: a number that JSON cannot carry exactly, or text that is not Unicode.
    """
    return hashlib.sha256(rfc8785.dumps(args)).hexdigest()
