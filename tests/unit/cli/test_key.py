from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from operator_requests import store

from mycelos.proxy.vault.keys import create_master_key, load_master_key
from mycelos.proxy.vault.next_key import write_next_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import LEDGER_SIGNING_KEY


@pytest.fixture(autouse=True)
def _not_hardened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in the test's own process, which cannot take back what hardening takes away."""
    monkeypatch.setattr("mycelos.proxy.process.harden", lambda: None)


@pytest.fixture
def stopped(layout: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A data folder with a vault that nobody has open."""
    # Hardening is for a process of its own, not for the one that runs the tests.
    monkeypatch.setattr("mycelos.proxy.process.harden", lambda: None)
    create_master_key(layout)
    Vault.open(layout, load_master_key(layout, None)).close()
    return layout


def test_a_running_system_rotates_through_its_door(mycelos: Any, operator_system: Any, master_key_file: Any) -> None:
    master_key_file(operator_system.layout)
    store(operator_system)
    before = operator_system.client.key_status().slot
    code, out, err = mycelos("key", "rotate")
    after = operator_system.client.key_status().slot
    assert (code, err) == (0, "")
    assert f"master-key: {before} is retired, {after} is in use." in out
    assert "1 records, 2 long-lived keys" in out
    assert "still opens backups and copies of the data folder that were made before, and they need it" in out
    assert "in place of the old one" not in out
    code, out, _ = mycelos("key", "rotate", "--name", LEDGER_SIGNING_KEY, "--json")
    assert (code, json.loads(out)["name"]) == (0, LEDGER_SIGNING_KEY)
    code, out, _ = mycelos("key", "status", "--json")
    found = json.loads(out)
    assert (code, found["slot"], found["age_days"], found["source"]) == (0, after, 0, "file")
    assert len(found["keys"]) == 3


def test_a_stopped_system_is_rotated_and_shown_here(mycelos: Any, stopped: Any) -> None:
    key = load_master_key(stopped, None)
    code, out, err = mycelos("key", "rotate", "--json")
    assert (code, err) == (0, "")
    rotated = json.loads(out)
    assert load_master_key(stopped, None) != key
    code, out, _ = mycelos("key", "status")
    assert code == 0
    assert rotated["key_id"] in out
    assert "of 4294967296" in out
    assert "none under way" in out
    assert LEDGER_SIGNING_KEY in out
    shown = base64.b64encode(load_master_key(stopped, None)).decode()
    assert shown not in out
    assert load_master_key(stopped, None).hex() not in out


def test_a_rotation_that_was_cut_short_shows_and_the_next_one_settles_it(mycelos: Any, stopped: Any) -> None:
    write_next_key(stopped, bytearray(32))
    assert "cut short" in mycelos("key", "status")[1]
    assert mycelos("key", "rotate")[0] == 0
    assert "none under way" in mycelos("key", "status")[1]


def test_a_new_key_that_could_not_be_put_into_its_place_is_said_and_is_a_failure(
    mycelos: Any, stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("mycelos.proxy.vault.next_key.swap", refuse)
        code, out, err = mycelos("key", "rotate")
    assert code == 1
    assert "is in use" in out
    assert str(stopped.master_key_next) in err
    assert "the next start" in err
    assert mycelos("key", "status", "--json")[1].find('"is_unfinished": true') > 0
    assert mycelos("key", "rotate")[0] == 0
    assert not stopped.master_key_next.exists()


@pytest.mark.parametrize("words", [("--name", "master-key"), ("--name", "nothing")])
def test_an_unknown_name_is_wrong_usage(mycelos: Any, stopped: Any, words: tuple[str, ...]) -> None:
    code, out, err = mycelos("key", "rotate", *words)
    assert (code, out) == (2, "")
    assert LEDGER_SIGNING_KEY in err


def test_a_key_that_was_typed_as_a_word_is_not_repeated(mycelos: Any, stopped: Any) -> None:
    typed = base64.b64encode(bytes(range(32))).decode()
    code, out, err = mycelos("key", "rotate", typed)
    assert code == 2
    assert typed not in out + err


def test_a_key_from_the_environment_is_left_to_the_person(
    mycelos: Any, stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = base64.b64encode(load_master_key(stopped, None)).decode()
    monkeypatch.setenv("MYCELOS_MASTER_KEY", key)
    code, _, err = mycelos("key", "rotate")
    assert code == 1
    assert "take the variable out of the environment" in err
    assert key not in err
    monkeypatch.delenv("MYCELOS_MASTER_KEY")
    assert mycelos("key", "rotate")[0] == 0
    monkeypatch.setenv("MYCELOS_MASTER_KEY", key)
    code, _, err = mycelos("key", "rotate")
    assert code == 1
    assert "take MYCELOS_MASTER_KEY out of the environment" in err


def test_without_a_vault_it_says_how_one_is_made(mycelos: Any, layout: Any) -> None:
    for words in (("status",), ("rotate",)):
        code, out, err = mycelos("key", *words)
        assert (code, out) == (1, "")
        assert "mycelos serve" in err


@pytest.mark.parametrize("mode", [0o640, 0o666])
def test_a_key_file_that_others_can_read_stops_a_rotation(mycelos: Any, stopped: Any, mode: int) -> None:
    stopped.master_key.chmod(mode)
    code, _, err = mycelos("key", "rotate")
    assert code == 1
    assert "chmod 600" in err
    assert not stopped.master_key_next.exists()


def test_a_witness_that_must_be_told_of_the_new_key_is_named(
    mycelos: Any, stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mycelos("key", "rotate", "--name", LEDGER_SIGNING_KEY)[2] == ""
    monkeypatch.setenv("MYCELOS_WITNESS", "https://w.example")
    assert mycelos("key", "rotate")[2] == ""
    for words in ((), ("--json",)):
        code, _, err = mycelos("key", "rotate", "--name", LEDGER_SIGNING_KEY, *words)
        assert code == 0
        assert "The witness at https://w.example refuses every checkpoint (403) until it knows the new key" in err
        assert "mycelos db audit checkpoint --key" in err
