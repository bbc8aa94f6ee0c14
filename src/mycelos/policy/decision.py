"""The decision about one tool call: `Allow`, `Ask` or `Deny`, each a frozen value with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mycelos.policy.capabilities import grants, is_capability, is_tool_name

if TYPE_CHECKING:
    from collections.abc import Collection


class Reason(StrEnum):
    """Stable words for why."""

    CAPABILITY = "capability"
    MALFORMED_CAPABILITY = "malformed_capability"
    MALFORMED_TOOL = "malformed_tool"
    NO_CAPABILITY = "no_capability"
    PERSON_DECIDES = "person_decides"
    UNKNOWN_TOOL = "unknown_tool"


@dataclass(frozen=True)
class Allow:
    """The call may go to its handler. ``capability`` is the one that covers it."""

    tool: str
    capability: str
    reason: Reason = Reason.CAPABILITY


@dataclass(frozen=True)
class Ask:
    """A capability covers the call, and a person must decide on this very call."""

    tool: str
    capability: str
    reason: Reason = Reason.PERSON_DECIDES


@dataclass(frozen=True)
class Deny:
    """The call is refused. ``detail`` is a sentence for a person, ``next_step`` what could be done."""

    tool: str
    reason: Reason
    detail: str
    next_step: str


Decision = Allow | Ask | Deny


def decide(
    capabilities: Collection[str], tool: str, *, registered: Collection[str], person_decides: Collection[str] = ()
) -> Decision:
    """Whether an agent that was granted ``capabilities`` may call ``tool``.

    Args:
        capabilities: what the agent was granted; one malformed member refuses every call, for then nobody can say
            what was meant. An empty set grants nothing.
        tool: the name as the model wrote it.
        registered: the tools that exist.
        person_decides: capabilities whose tools need a person's word each time. They narrow and never grant.
    """
    if not is_tool_name(tool):
        return Deny(tool, Reason.MALFORMED_TOOL, "This is not the name of a tool.", "Call a tool by its listed name.")
    if not all(is_capability(name) for name in (*capabilities, *person_decides)):
        return Deny(
            tool,
            Reason.MALFORMED_CAPABILITY,
            "The agent's list of capabilities holds a name that is none.",
            "Correct the agent's capabilities.",
        )
    covering = [name for name in capabilities if grants(name, tool)]
    if not covering:
        return Deny(
            tool,
            Reason.NO_CAPABILITY,
            f"The agent has no capability that covers {tool}.",
            f"If it should, a person can grant {tool} to the agent.",
        )
    if tool not in registered:
        return Deny(tool, Reason.UNKNOWN_TOOL, f"There is no tool {tool}.", "Call a tool by its listed name.")
    # The narrowest capability is the one that says most about why.
    capability = max(covering, key=len)
    if any(grants(name, tool) for name in person_decides):
        return Ask(tool, capability)
    return Allow(tool, capability)
