from __future__ import annotations

import json

import pytest

from mycelos.cli.output import CommandError, ExitCode
from mycelos.cli.prove import prove
from mycelos.prove import run
from mycelos.prove.outcome import CannotShowError, Finding, Shown


@pytest.fixture(autouse=True)
def _data_directory(layout, monkeypatch):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))


@pytest.fixture
def probing(monkeypatch):
    def put(identifier, *findings):
        monkeypatch.setitem(run.PROBES, identifier, run.Probe(Shown.TWIN, lambda _: list(findings)))

    return put


HELD = Finding("read the key", "refused", held=True)
OPEN = Finding("read the \x1b[31mvault", "it was read", held=False)


def test_a_claim_that_holds_says_what_was_tried_and_what_is_not_covered(probing, capsys):
    probing("V1", HELD)
    assert prove("V1") == 0
    text = capsys.readouterr().out
    assert "V1  holds        [twin]" in text
    assert "not covered: A reader who has the master key." in text
    assert "1 hold, 0 broken" in text


def test_a_broken_claim_names_what_did_not_hold_and_nothing_drives_the_terminal(probing, capsys):
    probing("V1", HELD, OPEN)
    assert prove("V1") == 3
    text = capsys.readouterr().out
    assert "BROKEN" in text
    assert "NOT read the \\u001b[31mvault: it was read" in text
    assert "read the key" not in text
    assert "\x1b" not in text


def test_every_attempt_is_shown_when_asked_for(probing, capsys):
    probing("V1", HELD)
    prove("V1", verbose=True)
    assert "ok  read the key: refused" in capsys.readouterr().out


def test_json_holds_everything(probing, capsys):
    probing("V1", HELD, OPEN)
    probing("S1", HELD)
    assert prove("V1", "S1", as_json=True) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 3
    assert [(one["id"], one["standing"]) for one in told["claims"]] == [("V1", "broken"), ("S1", "holds")]
    assert told["claims"][0]["findings"][0] == {"tried": "read the key", "happened": "refused", "held": True}


def test_an_unknown_claim_is_wrong_usage():
    with pytest.raises(CommandError) as caught:
        prove("Z9")
    assert caught.value.exit_code == ExitCode.WRONG_USAGE


def test_an_installation_that_cannot_be_read_is_not_shown_to_hold(monkeypatch):
    def refuse(_):
        message = "the state cannot be read"
        raise CannotShowError(message)

    monkeypatch.setattr("mycelos.prove.installation.find_installation", refuse)
    with pytest.raises(CommandError) as caught:
        prove("V1")
    assert caught.value.exit_code == ExitCode.CANNOT_TELL


def test_a_claim_that_cannot_be_shown_says_why(capsys):
    assert prove("A2") == 6
    assert "not shown: nothing runs in this data folder" in capsys.readouterr().out


def test_a_terminal_is_told_which_claim_is_at_work_and_nobody_else_is(probing, capsys, monkeypatch):
    probing("V1", HELD)
    probing("S1", HELD)
    prove("V1", "S1")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("mycelos.cli.prove.sys.stderr.isatty", lambda: True)
    prove("V1", "S1", as_json=True)
    told = capsys.readouterr()
    assert [text for text in told.err.split("\r") if text.strip()] == ["V1, 1 of 2 ...", "S1, 2 of 2 ..."]
    assert told.err.endswith("    \r")
    assert json.loads(told.out)["exit_code"] == 0
