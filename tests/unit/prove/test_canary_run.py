from __future__ import annotations

import asyncio

import pytest

from mycelos.prove import canary_run
from mycelos.prove.canary_run import CanaryRun
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Injection


@pytest.fixture(autouse=True)
def fresh():
    canary_run._canary_run.cache_clear()
    yield
    canary_run._canary_run.cache_clear()


def test_one_run_shows_three_claims_on_the_code_as_it_is(layout):
    installation = Installation(layout, None)
    probes = (canary_run.probe_models, canary_run.probe_logs, canary_run.probe_memories)
    findings = [finding for probe in probes for finding in probe(installation)]
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 8
    assert canary_run._canary_run.cache_info().misses == 1


def test_each_form_of_injection_has_a_credential():
    assert {type(form) for form in canary_run._FORMS.values()} == set(Injection.__args__)


def test_a_credential_that_does_not_arrive_shows_nothing():
    with Upstream() as outside, Upstream() as model, pytest.raises(CannotShowError, match="did not arrive"):
        canary_run._must_have_arrived(outside, model, dict.fromkeys((*canary_run._FORMS, "model"), "a-secret"))


def test_a_run_that_is_not_kept_shows_nothing(tmp_path):
    with pytest.raises(CannotShowError, match="not kept"):
        asyncio.run(canary_run._keep(tmp_path / "x.sqlite", [b"nothing of it"]))


def test_what_is_found_is_named_by_its_spelling():
    run = CanaryRun({"raw": (b"abcd",), "hexadecimal": (b"61626364",)}, b"", b"", b"INFO", b"", b"", ())
    assert run.found_in(b"x61626364x") == ["hexadecimal"]
    assert canary_run._not_in(run, "look", b"abcd").held is False
    assert canary_run._not_in(run, "look", b"nothing").held is True


def test_a_mixture_holds_each_character_in_another_way_and_undoes_to_the_secret():
    assert canary_run._mixed("abcdef") == b"a%62\\u0063&#100;\\x65f"
    assert canary_run._broken(b"a" * 13) == b"aaaaaaaaaaaa\na"
