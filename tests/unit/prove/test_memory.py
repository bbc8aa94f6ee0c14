from __future__ import annotations

import pytest

from mycelos.prove import memory
from mycelos.prove.installation import Installation
from mycelos.prove.object_walk import Look
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin


def test_nothing_keeps_a_credential_on_the_code_as_it_is(layout):
    findings = memory.probe_use(Installation(layout, None))
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 5


def test_a_walk_that_does_not_see_the_credential_in_use_shows_nothing(layout, monkeypatch):
    monkeypatch.setattr(Twin, "look", lambda _: Look((), 0))
    with pytest.raises(CannotShowError, match="while it is used"):
        memory.probe_use(Installation(layout, None))


def test_what_holds_it_is_named():
    finding = memory._kept("look", Look(("a bytes of builtins.list",), 0))
    assert (finding.held, finding.happened) == (False, "a bytes of builtins.list")
