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


def shown(entries, width=200, *, is_terminal=True, heads=True):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=is_terminal, color_system=None)
    show_entries(entries, console, heads=heads)
    return stream.getvalue()


LONG = {"reason": "r" * 300, "agent": "a" * 100, "details": {"host": "h" * 300, "path": "/p" * 200}}
DETAILS = {"method": "GET", "scheme": "https", "host": "api.example", "port": 443, "path": "/a"}


@pytest.mark.parametrize("width", [20, 40, 60, 80, 95, 96, 100, 129, 130, 200])
def test_the_table_fits_the_terminal(width):
    text = shown([entry(**LONG)] * 5, width)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 80, 100])
def test_where_it_is_folded_nothing_is_cut(width):
    text = "".join(line.strip() for line in shown([entry(**LONG)], width).splitlines())
    assert "…" not in text
    assert text.count("r") >= 300
    assert text.count("h") >= 300


@pytest.mark.parametrize("width", [40, 80, 200])
def test_without_a_terminal_each_entry_is_one_whole_line(width):
    lines = shown([entry(**LONG)] * 3, width, is_terminal=False).splitlines()
    assert len(lines) == 3
    assert all("a" * 100 in line and "r" * 300 in line and "2026-01-31T12:00:00.000000Z" in line for line in lines)


@pytest.mark.parametrize("width", [60, 100, 200])
def test_one_sees_what_left_for_whom_and_what_came_of_it(width):
    found = entry(agent="assistant", subject="github", outcome="refused", reason="no binding", details=DETAILS)
    text = " ".join(shown([found], width).split())
    for part in ("assistant", "github", "GET", "https://api.example/a", "refused: no binding", "01-31 12:00:00"):
        assert part in text


def test_a_port_is_shown_where_it_is_not_the_usual_one_and_a_host_once():
    text = shown([entry(subject="api.example", details=DETAILS | {"port": 8443})])
    assert "https://api.example:8443/a" in text
    assert text.count("api.example") == 1


def test_what_came_of_a_request_has_its_status():
    assert "ok 200" in shown([entry(phase=Phase.OUTCOME, intent_seq=0, outcome="ok", details={"status": 200})])


def test_what_the_gateway_says_is_shown_as_claimed():
    assert "assistant (claimed)" in shown([entry(Event.TOOL_CALLED, agent="assistant", details={"tool": "a.b"})])
    # The proxy knows what left. For which agent, it was told.
    assert "assistant (claimed)" in shown([entry(agent="assistant")])
    assert "(claimed)" not in shown([entry(Event.CREDENTIAL_STORED, principal="operator")])


def test_what_follows_has_no_heads_of_its_own():
    assert "at (UTC)" in shown([entry()])
    assert "at (UTC)" not in shown([entry()], heads=False)


@pytest.mark.parametrize("details", ["no json", "[1]", "[" * 100_000])
def test_a_row_without_details_is_shown_without_them(details):
    assert "proxy.http_request" in shown([entry()._replace(details=details)])


def test_intent_and_outcome_are_told_apart():
    text = shown([entry(phase=Phase.INTENT), entry(phase=Phase.OUTCOME, intent_seq=0)])
    assert "→ proxy.http_request" in text
    assert "← proxy.http_request" in text


@pytest.mark.parametrize("column", ["agent", "subject", "outcome", "reason", "event", "at"])
@pytest.mark.parametrize("shape", [{"width": 60}, {"width": 100}, {"width": 200}, {"is_terminal": False}])
def test_a_row_written_past_the_ledger_cannot_drive_the_terminal(column, shape):
    text = shown([entry()._replace(**{column: "x\x1b]0;owned\x07\x9b2J\u202e"})], **shape)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_markup_in_a_text_is_text():
    assert "[bold red]x[/]" in shown([entry(reason="[bold red]x[/]")])


def test_no_entries_is_said():
    assert shown([]) == "No entries.\n"
