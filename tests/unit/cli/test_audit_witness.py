"""What witnesses say and what it comes to; the commands with real witnesses: tests/integration/test_witness.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mycelos.cli.audit_witness import Witnesses, weigh, witness_url
from mycelos.cli.output import CommandError
from mycelos.configuration.environment import read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import replace_plain_file
from mycelos.ledger.verify import GIVEN_KEY, RememberedNote, Verdict, verify
from mycelos.proxy.ledger.heads import Outside
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.witness.consult import Word
from mycelos.proxy.witness.last_set import last_set_file

NOTHING = verify((), {}, verifies)
HOLDS = replace(NOTHING, verdict=Verdict.HOLDS, compared=("the gateway",))
YES = Word("w", True, "it has cosigned 7 entries", 7)
NO = Word("w", False, "rewritten", 7)
AWAY = Word("w", None, "away", None)


@pytest.mark.parametrize(
    ("result", "words", "verdict"),
    [
        (HOLDS, (), Verdict.HOLDS),
        (HOLDS, (YES,), Verdict.HOLDS),
        (HOLDS, (AWAY,), Verdict.CANNOT_TELL),
        (HOLDS, (YES, AWAY), Verdict.CANNOT_TELL),
        (HOLDS, (AWAY, NO), Verdict.BROKEN),
        (HOLDS, (YES, NO), Verdict.BROKEN),
        (NOTHING, (), Verdict.CANNOT_TELL),
        (NOTHING, (YES,), Verdict.HOLDS),
        (NOTHING, (AWAY,), Verdict.CANNOT_TELL),
        (NOTHING, (NO,), Verdict.BROKEN),
        (replace(NOTHING, untrusted={"the gateway": "not signed"}), (YES,), Verdict.CANNOT_TELL),
    ],
)
def test_what_it_comes_to(result, words, verdict) -> None:
    assert weigh(result, words).verdict is verdict


def test_the_witness_is_named_with_what_it_says() -> None:
    broken = weigh(HOLDS, (NO,))
    assert broken.reason == "w remembers another ledger: rewritten"
    assert broken.fault is not None
    assert (broken.fault.expected, broken.fault.found) == ("7 entries that it remembers", "rewritten")
    assert weigh(HOLDS, (YES,)).compared == ("the gateway", "w")
    assert "could not be asked: away" in weigh(HOLDS, (AWAY,)).reason


def test_a_log_that_is_broken_already_or_was_never_signed_asks_nobody(layout: DataLayout, monkeypatch) -> None:
    monkeypatch.setattr("mycelos.cli.audit_witness.consult", None)
    witnesses = Witnesses(read_environment({"MYCELOS_WITNESS": "https://w.example"}), layout, None)
    broken = replace(HOLDS, verdict=Verdict.BROKEN)
    assert witnesses.weigh(broken, "note") is broken
    assert witnesses.weigh(HOLDS, None) is HOLDS
    none = Witnesses(read_environment({}), layout, None)
    assert none.weigh(HOLDS, "note") is HOLDS


def test_a_setting_that_cannot_be_used_is_wrong_usage(layout: DataLayout) -> None:
    with pytest.raises(CommandError, match="MYCELOS_WITNESS"):
        Witnesses(read_environment({"MYCELOS_WITNESS": "notes"}), layout, None)
    url = Witnesses(read_environment({"MYCELOS_WITNESS": "https://a@w.example"}), layout, None)
    with pytest.raises(CommandError, match="MYCELOS_WITNESS"):
        url.weigh(HOLDS, "note")


def test_what_the_file_says_goes_into_the_walk(layout: DataLayout, tmp_path) -> None:
    (tmp_path / "notes").write_bytes(b"words\n\n")
    damaged = Witnesses(read_environment({"MYCELOS_WITNESS": str(tmp_path / "notes")}), layout, None)
    assert (damaged.evidence, damaged.unreadable) == ({}, ("the witness's file",))
    note = "ledger.example/a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— ledger.example/a AAAAAAAA\n"
    (tmp_path / "notes").write_text(f"{note}\n")
    sound = Witnesses(read_environment({"MYCELOS_WITNESS": str(tmp_path / "notes")}), layout, None)
    assert sound.evidence == {"the witness's file": RememberedNote(note.encode())}


def test_a_key_that_was_given_takes_nothing_from_a_witness_that_agrees() -> None:
    vouched = replace(HOLDS, verdict=Verdict.CANNOT_TELL, compared=(GIVEN_KEY,))
    result = weigh(vouched, (YES,))
    assert (result.verdict, result.compared) == (Verdict.HOLDS, (GIVEN_KEY, "w"))


SIGNED = replace(HOLDS, signed_size=7)


def test_a_witness_without_a_word_is_missing_evidence_of_a_ledger_that_was_signed(layout: DataLayout, tmp_path) -> None:
    witnesses = Witnesses(read_environment({"MYCELOS_WITNESS": str(tmp_path / "gone")}), layout, None)
    (why,) = witnesses.missing_of(SIGNED)
    assert "gone, empty, or was never given anything" in why
    assert witnesses.missing_of(HOLDS) == ()


def test_the_witness_with_a_url_is_the_one_that_is_set_or_that_the_proxy_had(layout: DataLayout, tmp_path) -> None:
    outside = Outside(tmp_path / "heads")
    none, here = read_environment({}), read_environment({"MYCELOS_WITNESS": "https://here.example"})
    assert witness_url(none, layout, outside) is None
    replace_plain_file(last_set_file(outside), b'{"url":"https://last.example"}')
    assert witness_url(none, layout, outside) == "https://last.example"
    assert witness_url(here, layout, outside) == "https://here.example"
    layout.operator_file.write_text("words")
    assert witness_url(here, layout, outside) == "https://last.example"
    replace_plain_file(last_set_file(outside), b"words")
    assert witness_url(none, layout, outside) is None
