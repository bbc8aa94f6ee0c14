from __future__ import annotations

import pytest

from mycelos.prove import no_uplink
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.run import PROBES


def test_a_probe_runs_where_only_loopback_is(layout):
    findings = PROBES["S1"].attempt(Installation(layout, None))
    assert findings
    assert all(isinstance(finding, Finding) and finding.held for finding in findings)


def test_a_route_to_the_outside_is_seen_without_a_packet():
    with pytest.raises(CannotShowError, match="way to the outside"):
        no_uplink.demand_no_uplink("127.0.0.1")
    no_uplink.demand_no_uplink("2d00::1")


@pytest.mark.parametrize("module", ["mycelos.prove.nowhere", "mycelos.claims"])
def test_a_process_that_fails_inside_shows_nothing(module):
    with pytest.raises(CannotShowError, match="does not end well"):
        no_uplink.run_without_uplink(module)


def test_what_the_attack_cannot_show_is_told_as_it_says(monkeypatch, capfdbinary):
    class Attack:
        @staticmethod
        def attack():
            message = "nothing here"
            raise CannotShowError(message)

    monkeypatch.setattr(no_uplink.importlib, "import_module", lambda _name: Attack)
    assert no_uplink.main(["any"]) == 0
    assert b'"obstacle":"nothing here"' in capfdbinary.readouterr().out


def test_without_bubblewrap_nothing_is_sent_and_nothing_shown(monkeypatch):
    from mycelos.sandbox.errors import Layer, SandboxRefused

    def missing():
        raise SandboxRefused(Layer.BUBBLEWRAP, "bwrap is not installed", "Install it: apt-get install bubblewrap")

    monkeypatch.setattr(no_uplink, "find_bubblewrap", missing)
    with pytest.raises(CannotShowError, match="bwrap is not installed"):
        no_uplink.run_without_uplink("mycelos.prove.egress")
