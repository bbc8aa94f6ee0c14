from __future__ import annotations

import io

import pytest
from rich.console import Console

from mycelos.cli.audit_table import show_entries
from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event


def entry(event=Event.PROXY_HTTP_REQUEST, phase=Phase.FACT, **about):
    return seal(make_draft(event, phase, tenant="t", **about), EMPTY, 0, "2026-01-31T12:00:00.000000Z", 0)


def shown(entries, width=200):
    stream = io.StringIO()
    show_entries(entries, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_table_fits_the_terminal(width):
    long = entry(reason="r" * 300, agent="a" * 100, details={"host": "h" * 300, "path": "/p" * 200})
    text = shown([long] * 5, width)
    assert max(map(len, text.splitlines())) <= width


def test_one_sees_what_left_for_whom_and_what_came_of_it():
    details = {"method": "GET", "scheme": "https", "host": "api.example", "port": 443, "path": "/a"}
    text = shown([entry(agent="assistant", subject="github", outcome="refused", reason="no binding", details=details)])
    for part in ("assistant", "github", "GET https://api.example:443/a", "refused: no binding", "01-31 12:00:00"):
        assert part in text


def test_what_the_gateway_says_is_shown_as_claimed():
    assert "assistant (claimed)" in shown([entry(Event.TOOL_CALLED, agent="assistant", details={"tool": "a.b"})])
    assert "(claimed)" not in shown([entry(agent="assistant")])


def test_intent_and_outcome_are_told_apart():
    text = shown([entry(phase=Phase.INTENT), entry(phase=Phase.OUTCOME, intent_seq=0)])
    assert "→ proxy.http_request" in text
    assert "← proxy.http_request" in text


@pytest.mark.parametrize("column", ["agent", "subject", "outcome", "reason", "event", "at"])
def test_a_row_written_past_the_ledger_cannot_drive_the_terminal(column):
    text = shown([entry()._replace(**{column: "x\x1b]0;owned\x07\x9b2J\u202e"})])
    assert all(character.isprintable() or character == "\n" for character in text)


def test_markup_in_a_text_is_text():
    assert "[bold red]x[/]" in shown([entry(reason="[bold red]x[/]")])


def test_no_entries_is_said():
    assert shown([]) == "No entries.\n"
