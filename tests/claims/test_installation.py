"""Every probe of `mycelos prove` against an installation that runs: the claim holds, or the test says where not."""

from __future__ import annotations

import json

import pytest

from mycelos.prove.installation import find_installation
from mycelos.prove.outcome import Shown, Standing
from mycelos.prove.run import PROBES, prove


@pytest.mark.parametrize("identifier", PROBES)
def test_the_claim_holds_where_it_runs(system, identifier):
    (result,) = prove(find_installation(system.layout), [identifier])
    assert result.obstacle == ""
    assert [finding for finding in result.findings if not finding.held] == []
    assert result.standing is Standing.HOLDS


def test_the_command_says_that_each_claim_holds_and_how_it_was_shown(system):
    done = system.mycelos("prove", "--json", "V2", "p1", "L2")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"]) == (0, 0)
    assert {one["id"] for one in told["claims"]} == {"V2", "P1", "L2"}
    assert {one["standing"] for one in told["claims"]} == {"holds"}
    assert all(one["not_covered"] and one["findings"] and one["shown"] in set(Shown) for one in told["claims"])


def test_with_a_key_that_everybody_can_read_the_command_says_so_and_ends_with_3(system):
    system.layout.master_key.chmod(0o644)
    try:
        done = system.mycelos("prove", "V2")
    finally:
        system.layout.master_key.chmod(0o600)
    assert done.returncode == 3
    assert "BROKEN" in done.stdout
    assert "its mode is 0644" in done.stdout


def test_a_claim_that_is_not_shown_yet_says_why_and_is_never_said_to_hold(system):
    done = system.mycelos("prove", "D1")
    assert done.returncode == 6
    assert "cannot tell" in done.stdout
    assert "containers are built later" in done.stdout


def test_an_unknown_claim_is_wrong_usage_and_the_known_ones_are_named(system):
    done = system.mycelos("prove", "Z9")
    assert done.returncode == 2
    assert "V1" in done.stderr
