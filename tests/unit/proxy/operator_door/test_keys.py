from __future__ import annotations

from typing import Any

import pytest
from operator_requests import ask, bearer, refusal, store

from mycelos.proxy.vault.keys import load_master_key
from mycelos.wire.keys import LEDGER_MAC_KEY, LEDGER_SIGNING_KEY, MASTER_KEY


@pytest.fixture
def keyed_system(operator_system: Any, master_key_file: Any) -> Any:
    master_key_file(operator_system.layout)
    return operator_system


def test_the_master_key_is_rotated_on_record_while_the_proxy_runs(keyed_system: Any) -> None:
    store(keyed_system)
    before = keyed_system.client.key_status()
    rotated = keyed_system.client.rotate_key(None)
    assert (rotated.name, rotated.previous_key_id, rotated.records, rotated.is_unfinished) == (
        MASTER_KEY, before.slot, 1, False,
    )  # fmt: skip
    after = keyed_system.client.key_status()
    assert after.slot == rotated.key_id == keyed_system.client.status().key_slot
    assert [key.id for key in after.keys] == [key.id for key in before.keys]
    intent, outcome = keyed_system.events("key.rotated")
    assert intent["details"] == {"name": MASTER_KEY, "previous_key_id": before.slot}
    assert outcome["outcome"] == "ok"
    assert outcome["details"]["key_id"] == rotated.key_id
    assert outcome["details"]["count"] == 1
    assert keyed_system.changes == 2
    # The proxy goes on under the new key, and everything that it writes is under it.
    store(keyed_system, "another")
    keyed_system.client.set_lockdown(enabled=True)
    assert {view.service for view in keyed_system.client.credentials().credentials} == {"github", "another"}


def test_a_long_lived_key_is_rotated_alone(keyed_system: Any) -> None:
    before = keyed_system.client.key_status()
    rotated = keyed_system.client.rotate_key(LEDGER_MAC_KEY)
    after = keyed_system.client.key_status()
    assert after.slot == before.slot
    retired, used = (key for key in after.keys if key.name == LEDGER_MAC_KEY)
    assert (retired.id, used.id) == (rotated.previous_key_id, rotated.key_id)
    assert (retired.retired_at is None, used.retired_at) == (False, None)
    assert {key.id for key in after.keys if key.name == LEDGER_SIGNING_KEY} == {
        key.id for key in before.keys if key.name == LEDGER_SIGNING_KEY
    }


def test_without_the_operators_token_no_key_is_changed_or_shown(keyed_system: Any) -> None:
    key = load_master_key(keyed_system.layout, None)
    for method, path in (("POST", "/key/rotate"), ("GET", "/key/status")):
        for headers in ({}, {"Authorization": "Bearer " + "t" * 43}):
            status, problem, _ = ask(keyed_system, method, path, {} if method == "POST" else None, **headers)
            assert (status, problem["code"]) == (401, "unauthorized")
    assert load_master_key(keyed_system.layout, None) == key


def test_an_unknown_name_names_those_that_exist(keyed_system: Any) -> None:
    status, problem, _ = ask(
        keyed_system, "POST", "/key/rotate", {"name": "nothing"}, Authorization=bearer(keyed_system)
    )
    assert status == 400
    assert LEDGER_SIGNING_KEY in problem["detail"]


def test_a_rotation_that_is_refused_is_on_record_as_refused(keyed_system: Any) -> None:
    keyed_system.layout.master_key.chmod(0o644)
    problem = refusal(keyed_system.client.rotate_key, None)
    assert "chmod 600" in problem.next
    _, outcome = keyed_system.events("key.rotated")
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "vault_unavailable")
