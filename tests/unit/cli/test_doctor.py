from __future__ import annotations

import json

import pytest

from mycelos.cli import diagnosis
from mycelos.cli.diagnosis import Diagnosis, State
from mycelos.cli.doctor import doctor


@pytest.fixture(autouse=True)
def _data_directory(layout, monkeypatch):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))


def finding(monkeypatch, *states):
    made = [Diagnosis(f"thing {state}", state, "as it is\x1b[2J", "mend it" * bool(state != "ok")) for state in states]
    monkeypatch.setattr(diagnosis, "examine", lambda _: made)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.OK], 0),
        ([State.OK, State.WARNING], 0),
        ([State.WARNING, State.FAILED], 1),
        ([State.FAILED, State.WALL_MISSING], 3),
    ],
)
def test_the_exit_code_says_what_is_worst(monkeypatch, states, code):
    finding(monkeypatch, *states)
    assert doctor() == code
    assert doctor(as_json=True) == code


def test_each_finding_has_its_fix_and_nothing_drives_the_terminal(monkeypatch, capsys):
    finding(monkeypatch, State.OK, State.WALL_MISSING)
    doctor()
    text = capsys.readouterr().out
    assert "MISSING  thing wall_missing" in text
    assert "fix: mend it" in text
    assert "\x1b" not in text


def test_json_holds_every_finding(monkeypatch, capsys):
    finding(monkeypatch, State.WARNING)
    doctor(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0]["state"] == "warning"
    assert told["findings"][0]["fix"] == "mend it"
