from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from kept_installation import Kept, kept, once
from operator_requests import refusal

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Phase
from mycelos.ledger.events import Event
from mycelos.ledger.key_change import check_key_change
from mycelos.ledger.query import EventQuery
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import Verdict
from mycelos.proxy.key_rotation import Keys, source_of
from mycelos.proxy.ledger.heads import outside_of, remembered_heads
from mycelos.proxy.ledger.keys import read_log_keys
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.operator_door.recorded import RecordedChange
from mycelos.proxy.vault import signing
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.long_lived_keys import LongLivedKeys
from mycelos.wire.keys import LEDGER_MAC_KEY, LEDGER_SIGNING_KEY, KeySource
from mycelos.wire.problems import ProblemCode, Refusal

DIGEST = hashlib.sha256(b"arguments").hexdigest()


@pytest.fixture
def system(operator_system: Any, master_key_file: Any) -> Any:
    master_key_file(operator_system.layout)
    return operator_system


def announced(system: Any) -> Any:
    entries = system.run(system.recorder.events(EventQuery(event=Event.KEY_ROTATED.value)))
    return next(entry for entry in entries if entry.phase == Phase.INTENT)


def test_a_change_of_the_signing_key_is_announced_and_signed_by_both_keys(system: Any) -> None:
    vault = system.vault
    old = vault.long_lived.in_use(LEDGER_SIGNING_KEY)
    old_public = signing.public_key(vault.keys.slot, old)
    rotated = system.client.rotate_key(LEDGER_SIGNING_KEY)
    change = check_key_change(announced(system), signing.verifies)
    assert (change.name, change.previous_key_id, change.key_id) == (LEDGER_SIGNING_KEY, old.key_id, rotated.key_id)
    assert change.previous_public_key == old_public.hex()
    new = vault.long_lived.in_use(LEDGER_SIGNING_KEY)
    assert (new.key_id, signing.public_key(vault.keys.slot, new).hex()) == (change.key_id, change.public_key)


def test_the_signing_key_of_the_ledger_outlives_a_rotation_of_the_master_key(system: Any) -> None:
    vault = system.vault
    before = signing.public_key(vault.keys.slot, vault.long_lived.in_use(LEDGER_SIGNING_KEY))
    system.client.rotate_key(None)
    assert signing.public_key(vault.keys.slot, vault.long_lived.in_use(LEDGER_SIGNING_KEY)) == before
    system.client.rotate_key(LEDGER_SIGNING_KEY)
    assert signing.public_key(vault.keys.slot, vault.long_lived.in_use(LEDGER_SIGNING_KEY)) != before


def test_after_a_change_of_its_key_the_ledger_keeps_digests_under_the_new_one(system: Any) -> None:
    system.client.rotate_key(LEDGER_MAC_KEY)
    with system.vault.wrapped_key(LEDGER_MAC_KEY) as key:
        expected = hmac.new(key.reveal(), bytes.fromhex(DIGEST), hashlib.sha256).hexdigest()
    system.run(append(system, args_digest=DIGEST))
    assert system.events("proxy.http_request")[-1]["args_mac"] == expected


async def append(system: Any, **about: Any) -> None:
    await system.recorder.fact(Event.PROXY_HTTP_REQUEST, **about)


def test_a_key_in_the_environment_is_not_rotated_and_the_way_out_is_said(system: Any) -> None:
    key = load_master_key(system.layout, None)
    keys = Keys(
        system.vault,
        system.recorder,
        RecordedChange(system.recorder, lambda: None, dict),
        system.layout,
        source_of(key),
    )
    problem = refusal(system.run, keys.rotate_master())
    assert problem.code is ProblemCode.CONFLICT
    assert str(system.layout.master_key) in problem.next
    assert "take the variable out of the environment" in problem.next
    assert system.run(keys.status()).source is KeySource.ENVIRONMENT
    assert load_master_key(system.layout, None) == key
    assert system.events("key.rotated") == []


def test_where_the_record_cannot_be_written_no_key_changes(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, key = system.client.key_status(), load_master_key(system.layout, None)

    async def refuse(*_arguments: object, **_about: object) -> Any:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The disk is full.", "Make room.")

    monkeypatch.setattr(system.recorder, "intent", refuse)
    for name in (None, LEDGER_MAC_KEY, LEDGER_SIGNING_KEY):
        assert refusal(system.client.rotate_key, name).code is ProblemCode.AUDIT_UNAVAILABLE
    assert system.client.key_status() == before
    assert load_master_key(system.layout, None) == key


def test_two_rotations_at_once_come_one_after_the_other(system: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(system.client.rotate_key, [None, None])
    chain = {first.previous_key_id: first.key_id, second.previous_key_id: second.key_id}
    assert len(chain) == 2
    assert system.client.key_status().slot in set(chain.values()) - set(chain)


async def rotate_signing_key(installation: Kept) -> None:
    keys = Keys(
        installation.vault, installation.recorder, installation.change, installation.layout, KeySource.ENVIRONMENT
    )
    await keys.rotate_named(LEDGER_SIGNING_KEY)


async def refuse_to_replace(*_keys: object) -> None:
    raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "The vault is locked; nothing was changed.", "Try again.")


async def refused_rotations(layout: DataLayout, environ: dict[str, str], count: int) -> None:
    """A life of an installation whose vault takes no change of the signing key."""
    async with kept(layout, environ) as installation:
        await installation.store("github", "the-first-secret")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LongLivedKeys, "replace", refuse_to_replace)
            for _ in range(count):
                with pytest.raises(Refusal, match="vault_unavailable"):
                    await rotate_signing_key(installation)


def signing_keys(layout: DataLayout) -> tuple[VerifierKey, ...]:
    with LedgerReader(layout.ledger) as reader:
        found = read_log_keys(reader)
    assert found is not None
    return found.accepted


@pytest.mark.anyio
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_after_refused_changes_of_the_signing_key_it_starts_and_the_next_change_works(
    layout: DataLayout, tmp_path: Path, count: int
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    await refused_rotations(layout, environ, count)
    assert len(signing_keys(layout)) == 1 + count
    await once(layout, environ)
    async with kept(layout, environ) as installation:
        before = installation.recorder.key
        await rotate_signing_key(installation)
        after = installation.recorder.key
    assert before != after
    assert signing_keys(layout) == (after,)
    await once(layout, environ)
    remembered = remembered_heads(layout, outside_of(layout, environ, installation_of(layout.vault)))
    assert verify_ledger(layout.ledger, remembered.evidence).result.verdict is Verdict.HOLDS


@pytest.mark.anyio
@pytest.mark.parametrize("is_used", [False, True])
async def test_a_crash_between_the_change_of_the_signing_key_and_its_outcome_is_taken_up(
    layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_used: bool
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    await refused_rotations(layout, environ, 2)

    class KilledError(BaseException):
        pass

    def die(*_arguments: object, **_about: object) -> Any:
        raise KilledError

    async with kept(layout, environ) as installation:
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(Recorder, "outcome", die)
            if not is_used:
                patch.setattr(Recorder, "use", die)
            await rotate_signing_key(installation)
    assert len(signing_keys(layout)) == 4
    async with kept(layout, environ) as installation:
        newest = installation.recorder.key
    assert signing_keys(layout) == (newest,)
    await once(layout, environ)
    assert verify_ledger(layout.ledger, {}).result.fault is None
