"""What a run's events say, folded into the blocks that the page shows. Pure: events in, blocks out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from markupsafe import Markup

from mycelos.gateway.web.markdown import render_markdown


class EventLike(Protocol):
    """One event of a run, from the journal or the live stream."""

    @property
    def sequence(self) -> int:
        """Its number in the run, from 1."""

    @property
    def kind(self) -> str:
        """Its kind, such as ``token``."""

    @property
    def data(self) -> Mapping[str, Any]:
        """What it says."""


_STATES: Final = {
    "policy_denied": "refused",
    "binding_violation": "refused",
    "credential_unknown": "refused",
    "egress_not_allowed": "refused",
    "injection_refused": "refused",
    "invalid_request": "refused",
    "locked_down": "locked down",
    "ssrf_blocked": "blocked",
    "too_large": "too large",
}


@dataclass(frozen=True)
class Words:
    """Text that the model wrote."""

    text: str
    kind: str = "words"

    @property
    def html(self) -> Markup:
        """The text as harmless HTML."""
        return render_markdown(self.text)


@dataclass(frozen=True)
class ToolBlock:
    """One wish for a tool and what came of it. ``ok`` is None while it is under way."""

    call: str
    tool: str
    args: str
    brief: str = ""
    ok: bool | None = None
    content: str = ""
    code: str = ""
    kind: str = "tool"

    @property
    def state(self) -> str:
        """One word for the card's corner."""
        if self.ok is None:
            return "working"
        return "done" if self.ok else _STATES.get(self.code, "failed")

    @property
    def reason(self) -> str:
        """Why it was refused or failed; empty where it was not."""
        return "" if self.ok is not False else self.content.removeprefix(f"Refused ({self.code}): ")

    @property
    def may_grant(self) -> bool:
        """Whether a person could make this call possible by granting a capability."""
        return self.ok is False and self.code == "policy_denied"


@dataclass(frozen=True)
class Asking:
    """A request waits for a person, who decides it at the vault page."""

    tool: str
    approval: str
    expires_at: str
    kind: str = "asking"


@dataclass(frozen=True)
class Ending:
    """How the run ended."""

    ok: bool
    code: str
    detail: str
    next: str
    kind: str = "ending"


Block = Words | ToolBlock | Asking | Ending


@dataclass(frozen=True)
class Transcript:
    """The blocks in order; ``after`` is the number of the newest event in them."""

    blocks: tuple[Block, ...]
    after: int

    @property
    def has_ended(self) -> bool:
        """Whether an ending is among them."""
        return any(isinstance(block, Ending) for block in self.blocks)


def fold_events(events: Iterable[EventLike]) -> Transcript:
    """The blocks of one run's events."""
    blocks: list[Block] = []
    after = 0
    for event in events:
        after = max(after, event.sequence)
        data = event.data
        # A run does one thing at a time: whatever follows, a person is waited for no longer.
        blocks = [block for block in blocks if not isinstance(block, Asking)]
        match event.kind:
            case "token":
                _add_words(blocks, _text(data, "text"))
            case "tool_call":
                args = data.get("args")
                blocks.append(ToolBlock(_text(data, "id"), _text(data, "tool"), _arguments(args), _brief(args)))
            case "tool_result":
                _finish_call(blocks, data)
            case "approval":
                blocks.append(Asking(_text(data, "tool"), _text(data, "approval"), _text(data, "expires_at")))
            case "done" | "error":
                blocks.append(_ending(event.kind, data))
            case _:
                pass
    return Transcript(tuple(blocks), after)


def _add_words(blocks: list[Block], text: str) -> None:
    last = blocks[-1] if blocks else None
    if isinstance(last, Words):
        blocks[-1] = Words(last.text + text)
    elif text:
        blocks.append(Words(text))


def _finish_call(blocks: list[Block], data: Mapping[str, Any]) -> None:
    for index, block in enumerate(blocks):
        if isinstance(block, ToolBlock) and block.call == _text(data, "id") and block.ok is None:
            blocks[index] = replace(
                block,
                ok=data.get("ok") is True,
                content=_text(data, "content"),
                code=_text(data, "code"),
            )
            return


def _ending(kind: str, data: Mapping[str, Any]) -> Ending:
    return Ending(kind == "done", _text(data, "code"), _text(data, "detail"), _text(data, "next"))


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _arguments(args: object) -> str:
    return "not a JSON object" if args is None else json.dumps(args, indent=2, ensure_ascii=False)


def _brief(args: object) -> str:
    """The plain values of the arguments in one line, for the card's head."""
    values = args.values() if isinstance(args, Mapping) else ()
    return " · ".join(str(value) for value in values if isinstance(value, str | int | float))[:200]
