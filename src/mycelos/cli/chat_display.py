"""A run's events as lines of a terminal.

Everything in them was written by a model or came from outside: none of it may steer the terminal.
"""

from __future__ import annotations

import json
from typing import Final, TextIO

from mycelos.cli.event_stream import Event
from mycelos.cli.output import say
from mycelos.ledger.text import escape, shorten

_ARGUMENTS_WIDTH: Final = 200
_CONTENT_WIDTH: Final = 160


class ChatDisplay:
    """Writes events to ``stream`` as they come: text as it is written, everything else on a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._within_line = False
        self._wrote_text = False

    def show(self, event: Event) -> None:
        """Show one event; a kind that this version does not know is shown by its name."""
        data = event.data
        match event.kind:
            case "token":
                self._text(str(data.get("text", "")))
            case "tool_call":
                arguments = shorten(escape(json.dumps(data.get("args"), ensure_ascii=False)), _ARGUMENTS_WIDTH)
                self.note(f"calls {escape(str(data.get('tool')))} {arguments}")
            case "tool_result":
                content = shorten(escape(str(data.get("content", ""))), _CONTENT_WIDTH)
                word = "gave" if data.get("ok") else "was not done:"
                self.note(f"{escape(str(data.get('tool')))} {word} {content}")
            case "approval":
                self.note(f"waits for a person's word on {escape(str(data.get('tool')))}")
                self.note("decide it at the vault page, or with: mycelos approval list")
            case "done":
                if not self._wrote_text:
                    self._text(str(data.get("text", "")))
                self._end_line()
            case "error":
                detail = f"{data.get('detail', '')} {data.get('next', '')}".strip()
                self.note(f"ended ({escape(str(data.get('code')))}): {escape(detail)}")
            case other:
                self.note(escape(other))

    def note(self, text: str) -> None:
        """A line of ours, set off from what the model writes."""
        self._end_line()
        say(f"  [{escape(text)}]", stream=self._stream)

    def _text(self, text: str) -> None:
        if text:
            say(text, end="", stream=self._stream)
            self._wrote_text = True
            self._within_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._within_line:
            say(stream=self._stream)
            self._within_line = False
