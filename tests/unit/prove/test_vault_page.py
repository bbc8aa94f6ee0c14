from __future__ import annotations

import pytest
from vault_page import served_vault_page

from mycelos.ledger.events import Event
from mycelos.prove import vault_page
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.supervisor.state import SupervisorState


def at(layout, port):
    return Installation(layout, SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, port, "", "", ()))


def test_on_the_page_as_it_is_all_holds_and_what_is_left_is_one_session_begun_and_ended():
    with Twin(1) as twin, served_vault_page(twin.layout) as served:
        before = twin.entries()[-1].seq
        findings = vault_page.probe_vault_page(at(twin.layout, int(served.base.rpartition(":")[2])))
        # That the attacks were refused is on record too.
        left = [entry.event for entry in twin.entries(before) if entry.event != Event.OPERATOR_REFUSED]
        assert served.sessions.end_all() == 0
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) > 20
    assert left == [Event.OPERATOR_LINK_CREATED, Event.OPERATOR_LOGIN, Event.OPERATOR_LOGOUT]


def test_a_page_that_does_not_answer_shows_nothing(layout, free_port):
    with pytest.raises(CannotShowError, match="does not answer"):
        vault_page.probe_vault_page(at(layout, free_port()))


def test_something_else_at_its_port_shows_nothing():
    with Twin(1) as twin, Upstream() as other, pytest.raises(CannotShowError, match="does not let its operator in"):
        vault_page.probe_vault_page(at(twin.layout, other.port))


def test_where_nothing_runs_nothing_is_shown(layout):
    with pytest.raises(CannotShowError, match="mycelos serve"):
        vault_page.probe_vault_page(Installation(layout, None))
