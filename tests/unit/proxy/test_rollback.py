"""The start compares vault, ledger and heads; what was put back or cut is refused, and what a crash left is not."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kept_installation import MASTER_KEY, Copy, Kept, kept, once
from ledger_keys import note_of

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Entry
from mycelos.ledger.events import ANCHORED, Event
from mycelos.ledger.log_filter import Filter
from mycelos.prove.ledger_copy import forge_index, unguarded
from mycelos.proxy import rollback
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.reopen import reopen
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import COMMAND_LINE, GATEWAY, Outside, outside_of, remember
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import TAIL
from mycelos.proxy.ledger.vault_word import states_vault
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.rollback import WAYS_ON, demand_vault, newest_anchor
from mycelos.proxy.stopped import stopped_keys
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.state import announced
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

ADOPT = "mycelos backup adopt"


@pytest.fixture
def outer(tmp_path: Path) -> dict[str, str]:
    """An environment that names a state folder outside of the data folder."""
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


NOWHERE: dict[str, str] = {}


async def refused(layout: DataLayout, environ: dict[str, str]) -> VaultError:
    """The refusal of a start, which writes nothing into the ledger."""
    before = ledger_length(layout)
    with pytest.raises(VaultError) as caught:
        await once(layout, environ)
    assert ledger_length(layout) == before
    assert ADOPT in caught.value.next_step
    return caught.value


def ledger_length(layout: DataLayout) -> int:
    with LedgerReader(layout.ledger) as reader:
        newest = reader.newest(1)
    return newest[0].seq + 1 if newest else 0


async def first_day(layout: DataLayout, environ: dict[str, str]) -> None:
    async def work(installation: Kept) -> None:
        await installation.store("github", "the-first-secret")
        await installation.set_web(enabled=True)

    await once(layout, environ, work)


async def second_day(layout: DataLayout, environ: dict[str, str]) -> None:
    async def work(installation: Kept) -> None:
        await installation.rotate("github", "the-second-secret")
        await installation.set_web(enabled=False)

    await once(layout, environ, work)


async def test_what_was_closed_well_opens_again_and_again(layout: DataLayout, outer: dict[str, str]) -> None:
    await first_day(layout, outer)
    for _ in range(3):
        await once(layout, outer)
    await second_day(layout, outer)
    await once(layout, outer)


async def test_an_old_vault_beside_the_newest_ledger_is_refused(layout: DataLayout, tmp_path: Path) -> None:
    await first_day(layout, NOWHERE)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, NOWHERE)
    copy.put_back("vault")
    error = await refused(layout, NOWHERE)
    assert "The vault was set back" in error.detail
    await refused(layout, NOWHERE)


async def hide_deletion(layout: DataLayout, folder: Path) -> None:
    """A credential is deleted; then somebody takes that out of the index, and puts the vault of before back."""
    await once(layout, NOWHERE, lambda running: running.store("github", "the-secret"))
    before = Copy(layout, folder)
    await once(layout, NOWHERE, lambda running: running.delete("github"))
    forge_index(layout.ledger, where="event <> 'credential.deleted'")
    before.put_back("vault")


async def test_an_index_that_does_not_have_the_newest_change_hides_no_old_vault(
    layout: DataLayout, tmp_path: Path
) -> None:
    await hide_deletion(layout, tmp_path / "copy")
    with pytest.raises(LedgerError, match="the index of rare entries leaves this entry out") as caught:
        await once(layout, NOWHERE)
    assert "mycelos db audit rebuild" in str(caught.value)
    with LedgerReader(layout.ledger) as reader:
        deleted = reader.newest(2, Filter(event="credential.deleted"))[0].seq
    assert f"at entry {deleted}:" in str(caught.value)
    fault = verify_ledger(layout.ledger, {}).result.fault
    assert fault is not None
    assert (fault.seq, "leaves this entry out" in fault.what) == (deleted, True)
    # To take the ledger over is no way around it.
    with pytest.raises(BackupError, match="leaves this entry out"):
        await asyncio.to_thread(reopen, layout, MASTER_KEY, restored=None, stay_locked=False, step=lambda _: None)


async def bury_deletion(layout: DataLayout, folder: Path) -> None:
    """A credential is deleted, more is recorded than a start looks through; then the vault of before is put back."""
    await once(layout, NOWHERE, lambda running: running.store("github", "the-secret"))
    before = Copy(layout, folder)

    async def delete(running: Kept) -> None:
        await running.delete("github")
        await asyncio.gather(*(running.recorder.fact(Event.PROXY_HTTP_REQUEST) for _ in range(TAIL + 100)))

    await once(layout, NOWHERE, delete)
    before.put_back("vault")


def leave_out(layout: DataLayout) -> None:
    forge_index(layout.ledger, where="event <> 'credential.deleted'")


def write_over(layout: DataLayout) -> None:
    with unguarded(layout.ledger) as intruder:
        intruder.execute("UPDATE audit_events SET event = 'tool.called' WHERE event = 'credential.deleted'")


def by_index(reader: LedgerReader) -> Entry | None:
    """The newest word on the vault as the index has it, with no look at what is signed."""
    return next((entry for entry in reversed(reader.every(ANCHORED)) if states_vault(entry)), None)


@pytest.mark.parametrize("hide", [leave_out, write_over])
async def test_a_change_that_was_hidden_far_from_the_end_hides_no_old_vault(
    layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hide: Callable[[DataLayout], None]
) -> None:
    await bury_deletion(layout, tmp_path / "copy")
    hide(layout)
    error = await refused(layout, NOWHERE)
    assert "The vault was set back" in error.detail
    # The twin: who believes the index, or rows that nobody held against the signature, has the credential back.
    monkeypatch.setattr("mycelos.proxy.rollback.newest_word", by_index)
    found: list[str] = []

    async def look(running: Kept) -> None:
        found.extend(credential.service for credential in running.vault.list())

    await once(layout, NOWHERE, look)
    assert found == ["github"]


async def test_near_the_end_the_word_on_the_vault_needs_no_index(
    layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hide_deletion(layout, tmp_path / "copy")
    monkeypatch.setattr("mycelos.proxy.ledger.recovery.tail_index_fault", lambda *_: None)
    error = await refused(layout, NOWHERE)
    assert "The vault was set back" in error.detail


async def test_an_old_ledger_beside_the_newest_vault_is_refused(layout: DataLayout, tmp_path: Path) -> None:
    await first_day(layout, NOWHERE)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, NOWHERE)
    copy.put_back("ledger")
    error = await refused(layout, NOWHERE)
    assert "The ledger was set back or cut off" in error.detail
    assert "explains none of what lies between" in error.detail


async def test_an_old_copy_of_everything_is_noticed_by_the_head_outside(
    layout: DataLayout, tmp_path: Path, outer: dict[str, str]
) -> None:
    await first_day(layout, outer)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, outer)
    copy.put_back("everything")
    error = await refused(layout, outer)
    assert "the proxy, outside the data folder remembers 11 entries, and the ledger has 6" in error.detail
    await refused(layout, outer)


async def test_without_a_head_outside_an_old_copy_of_everything_opens(layout: DataLayout, tmp_path: Path) -> None:
    """The twin: what is remembered nowhere else cannot be missed. `mycelos db audit verify` says 6, cannot tell."""
    await first_day(layout, NOWHERE)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, NOWHERE)
    copy.put_back("everything")
    await once(layout, NOWHERE)


async def test_an_old_copy_that_has_gone_on_elsewhere_is_noticed_too(
    layout: DataLayout, tmp_path: Path, outer: dict[str, str]
) -> None:
    await first_day(layout, outer)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, outer)
    copy.put_back("everything")
    # On another machine, where nothing is remembered, the copy grows past the head.
    await second_day(layout, NOWHERE)
    await second_day(layout, NOWHERE)
    error = await refused(layout, outer)
    assert "remembers other entries than the first 11 here" in error.detail


async def test_a_forged_entry_that_speaks_of_the_old_vault_does_not_hide_it(
    layout: DataLayout, tmp_path: Path, outer: dict[str, str]
) -> None:
    """Who holds the ledger's key can write any entry into it: the generation outside says that the vault is old."""
    await first_day(layout, outer)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, outer)
    copy.put_back("vault")
    old = Vault.open(layout, MASTER_KEY)
    anchor = old.state.anchor
    forger = await Recorder.open(layout.ledger, keys=partial(ledger_keys, old))
    await forger.fact(Event.PROXY_STARTED, outcome="ok", details=anchor.details())
    await forger.close()
    old.close()
    error = await refused(layout, outer)
    assert "is remembered outside the data folder" in error.detail
    # The twin: where nothing is remembered outside, the forged entry is believed.
    await once(layout, NOWHERE)


@pytest.mark.parametrize(
    "details",
    ['{"vault_digest":"x"}', '{"vault_digest":1,"vault_generation":1}', '["vault_digest":', '{"vault_digest":"x"'],
)
async def test_an_entry_that_was_changed_so_that_it_says_nothing_of_the_vault_is_an_error(
    layout: DataLayout, details: str
) -> None:
    await first_day(layout, NOWHERE)
    with closing(sqlite3.connect(layout.ledger, isolation_level=None)) as intruder:
        intruder.execute("DROP TRIGGER audit_events_no_update")
        intruder.execute("UPDATE audit_events SET details = ? WHERE source <> 'gateway'", (details,))
    with LedgerReader(layout.ledger) as reader, pytest.raises(LedgerError, match="does not hold near its end"):
        newest_anchor(reader)
    layout.vault.unlink()
    with pytest.raises(VaultError, match="speaks of one"):
        demand_vault(layout)


async def test_where_the_ledger_cannot_be_read_the_heads_still_speak_of_a_vault(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    remember(layout.command_line_head, note_of(1))
    layout.ledger.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    layout.vault.unlink()
    with pytest.raises(VaultError, match="the command line remembers a checkpoint"):
        demand_vault(layout)


async def test_a_ledger_whose_end_was_cut_is_refused(layout: DataLayout, outer: dict[str, str]) -> None:
    await first_day(layout, outer)
    await second_day(layout, outer)
    whole = layout.ledger.read_bytes()
    length = ledger_length(layout)
    cases = 0
    for cut in range(1, length):
        cut_to(layout, length - cut)
        await refused(layout, outer)
        layout.ledger.write_bytes(whole)
        cases += 1
    assert cases == length - 1
    await once(layout, outer)


async def test_without_heads_each_cut_shows_by_the_signature_that_is_missing(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    with LedgerReader(layout.ledger) as reader:
        entries = reader.after(-1, 100)
    whole = layout.ledger.read_bytes()
    passed = []
    for length in range(len(entries)):
        cut_to(layout, length)
        try:
            await once(layout, NOWHERE)
            passed.append(length)
        except (VaultError, LedgerError):
            pass
        layout.ledger.write_bytes(whole)
        for path in layout.proxy.glob("ledger.sqlite-*"):
            path.unlink()
    assert (passed, len(entries)) == ([], 6)
    await once(layout, NOWHERE)


def cut_to(layout: DataLayout, length: int) -> None:
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM audit_events WHERE seq >= ?", (length,))
    connection.execute("DELETE FROM checkpoints WHERE size > ?", (length,))
    for _, statement in guards:
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def test_a_ledger_that_is_gone_is_missed_by_the_vault(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    for path in layout.proxy.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(VaultError, match="The ledger is gone"):
        await once(layout, NOWHERE)


async def test_a_vault_that_is_gone_is_missed_by_the_ledger_and_none_is_made(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    for path in layout.proxy.glob("vault.sqlite*"):
        path.unlink()
    with pytest.raises(VaultError, match="There is no vault"):
        await once(layout, NOWHERE)
    assert not layout.vault.exists()


def remembered_by(layout: DataLayout, keeper: str) -> Path:
    """The only trace of an installation whose vault and ledger are gone."""
    for path in layout.proxy.iterdir():
        path.unlink()
    path = layout.gateway_head if keeper == GATEWAY else layout.command_line_head
    remember(path, note_of(8))
    return path


@pytest.mark.parametrize("keeper", [GATEWAY, COMMAND_LINE])
async def test_where_vault_and_ledger_are_gone_a_refused_start_makes_neither_and_says_what_leads_on(
    layout: DataLayout, keeper: str
) -> None:
    await first_day(layout, NOWHERE)
    path = remembered_by(layout, keeper)
    for _ in range(2):
        with pytest.raises(VaultError, match=f"{keeper} remembers a checkpoint") as caught:
            await once(layout, NOWHERE)
        assert str(path) in caught.value.detail
        assert caught.value.next_step == WAYS_ON
        assert not [found for found in layout.proxy.iterdir() if found.name.startswith(("vault", "ledger"))]


def test_a_head_that_cannot_be_read_keeps_no_first_start_back(layout: DataLayout) -> None:
    demand_vault(layout)
    remember(layout.command_line_head, note_of(1))
    layout.command_line_head.write_text("{}")
    demand_vault(layout)


async def test_a_new_vault_in_the_place_of_the_old_one_is_refused(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    for path in layout.proxy.glob("vault.sqlite*"):
        path.unlink()
    Vault.open(layout, MASTER_KEY).close()
    assert "The vault was set back" in (await refused(layout, NOWHERE)).detail


async def test_a_vault_with_another_history_of_the_same_length_is_refused(layout: DataLayout, tmp_path: Path) -> None:
    await first_day(layout, NOWHERE)
    copy = Copy(layout, tmp_path / "copy")
    await once(layout, NOWHERE, lambda installation: installation.rotate("github", "the-second-secret"))
    newest = Copy(layout, tmp_path / "newest")
    copy.put_back("everything")
    await once(layout, NOWHERE, lambda installation: installation.rotate("github", "the-other-secret"))
    newest.put_back("ledger")
    assert "holds something else" in (await refused(layout, NOWHERE)).detail


def newest_note(layout: DataLayout) -> str:
    with LedgerReader(layout.ledger) as reader:
        newest = reader.newest_checkpoint()
    assert newest is not None
    return newest[1]


@pytest.mark.parametrize("size", [1, 10_000])
async def test_what_a_gateway_forged_is_not_heard_and_stops_nothing(
    layout: DataLayout, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    await first_day(layout, NOWHERE)
    layout.gateway.mkdir(parents=True)
    remember(layout.gateway_head, note_of(size))
    await once(layout, NOWHERE)
    assert "the gateway remembers a checkpoint that the key of the ledger has not signed" in caplog.text


async def test_what_another_keeper_remembers_under_another_key_is_a_key_that_was_swapped(
    layout: DataLayout, outer: dict[str, str]
) -> None:
    await first_day(layout, outer)
    remember(outside_file(layout, outer).command_line, note_of(1))
    assert "that the key of the ledger has not signed" in (await refused(layout, outer)).detail


async def test_what_the_gateway_was_given_shows_an_old_copy_where_nothing_else_does(
    layout: DataLayout, tmp_path: Path
) -> None:
    await first_day(layout, NOWHERE)
    copy = Copy(layout, tmp_path / "copy")
    await second_day(layout, NOWHERE)
    note = newest_note(layout)
    copy.put_back("everything")
    layout.gateway.mkdir(parents=True, exist_ok=True)
    remember(layout.gateway_head, note)
    assert "the gateway remembers 11 entries, and the ledger has 6" in (await refused(layout, NOWHERE)).detail


async def test_a_ledger_that_never_was_signed_is_not_the_one_that_is_remembered(
    layout: DataLayout, outer: dict[str, str]
) -> None:
    await first_day(layout, outer)
    for path in layout.proxy.glob("ledger.*"):
        path.unlink()
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED, outcome="ok")
    await recorder.close()
    assert "a ledger that was signed, and this one never was" in (await refused(layout, outer)).detail


async def test_what_the_gateway_claims_of_the_vault_is_not_heard(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)
    layout.gateway.mkdir(parents=True)
    remember(layout.gateway_head, newest_note(layout), vault_generation=10_000)
    await once(layout, NOWHERE)


async def test_a_head_that_cannot_be_read_is_missing_evidence_and_no_refusal(
    layout: DataLayout, outer: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await first_day(layout, outer)
    outside_file(layout, outer).proxy.write_text("{")
    await once(layout, outer)
    assert "the proxy, outside the data folder remembers of the ledger cannot be read" in caplog.text
    # The start has written a whole one in its place.
    assert json.loads(outside_file(layout, outer).proxy.read_text())["note"]


def outside_file(layout: DataLayout, environ: dict[str, str]) -> Outside:
    outside = outside_of(layout, environ, installation_of(layout.vault))
    assert outside is not None
    return outside


def losing_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the commit and the outcome: here it is never written."""

    def lost(*_arguments: object, **_about: object) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    monkeypatch.setattr(Recorder, "outcome", lost)


CHANGES: list[Callable[[Kept], Any]] = [
    lambda installation: installation.store("another", "a-third-secret"),
    lambda installation: installation.rotate("github", "a-third-secret"),
    lambda installation: installation.delete("github"),
    lambda installation: installation.set_web(enabled=False),
    lambda installation: installation.step.set(),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_crash_before_the_outcome_is_no_rollback(
    layout: DataLayout, outer: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: Callable[[Kept], Any]
) -> None:
    await first_day(layout, outer)
    with monkeypatch.context() as patch:
        losing_outcomes(patch)
        await once(layout, outer, change)
    await once(layout, outer)
    await once(layout, outer)


async def test_a_start_that_is_killed_right_after_it_noted_the_crash_is_no_rollback(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_day(layout, NOWHERE)
    with monkeypatch.context() as patch:
        losing_outcomes(patch)
        await once(layout, NOWHERE, CHANGES[0])
    # The intents without an outcome are noted, and the process ends before it says that it has started.
    recorder = await Recorder.open(layout.ledger)
    await recorder.close()
    await once(layout, NOWHERE)


async def test_two_lost_changes_need_two_lost_outcomes(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    await first_day(layout, NOWHERE)
    with monkeypatch.context() as patch:
        losing_outcomes(patch)
        await once(layout, NOWHERE, CHANGES[0])
    vault = Vault.open(layout, MASTER_KEY)
    await vault.rotate("github", "without-the-ledger")
    vault.close()
    assert "explains 1 of what lies between" in (await refused(layout, NOWHERE)).detail


async def test_a_rotation_of_the_master_key_may_take_more_than_one_step(layout: DataLayout) -> None:
    await first_day(layout, NOWHERE)

    async def rotation(installation: Kept) -> None:
        await installation.recorder.intent(Event.KEY_ROTATED, principal="operator")
        with announced():
            await installation.vault.rotate("github", "one-step-of-it")
            await installation.vault.rotate("github", "another-step-of-it")

    await once(layout, NOWHERE, rotation)
    await once(layout, NOWHERE)


async def test_after_a_rotation_of_the_master_key_the_newest_starts_and_the_one_before_does_not(
    layout: DataLayout, tmp_path: Path, outer: dict[str, str]
) -> None:
    layout.master_key.write_text(base64.b64encode(MASTER_KEY).decode())
    layout.master_key.chmod(0o600)
    await first_day(layout, outer)
    copy = Copy(layout, tmp_path / "copy")
    async with stopped_keys(layout, None) as keys:
        await keys.rotate_master()
    newest = load_master_key(layout, None)
    assert newest != MASTER_KEY
    async with kept(layout, outer, newest) as installation:
        await installation.rotate("github", "the-second-secret")
    async with kept(layout, outer, newest):
        pass
    copy.put_back("vault")
    # The old vault opens with the old key, which a thief may have; the ledger says that it is not the newest.
    assert "The vault was set back" in (await refused(layout, outer)).detail


async def test_a_long_lived_key_that_the_start_has_made_is_no_rollback(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_day(layout, NOWHERE)
    vault = Vault.open(layout, MASTER_KEY)
    monkeypatch.setattr(vault.long_lived, "_clock", lambda: datetime(2999, 1, 1, tzinfo=UTC))
    with vault.wrapped_key("of-a-newer-mycelos"):
        pass
    vault.close()
    await once(layout, NOWHERE)


async def test_a_first_start_that_was_cut_short_begins_again(layout: DataLayout) -> None:
    vault = Vault.open(layout, MASTER_KEY)
    with vault.wrapped_key("ledger-args-mac"), vault.wrapped_key("another"):
        pass
    vault.close()
    await once(layout, NOWHERE)


async def test_a_lockdown_without_a_ledger_is_kept_and_no_rollback(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_day(layout, NOWHERE)

    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    async def lock(installation: Kept) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "intent", refuse)
            for _ in range(3):
                assert (await installation.step.set()).locked

    await once(layout, NOWHERE, lock)
    async with kept(layout, NOWHERE) as installation:
        assert installation.step.lockdown.state.locked
        await installation.step.lift()
    await once(layout, NOWHERE)


async def test_while_it_serves_a_change_that_is_not_on_record_is_refused(layout: DataLayout) -> None:
    async with kept(layout, NOWHERE) as installation:
        await installation.store("github", "the-first-secret")
        before = installation.vault.state.anchor
        with pytest.raises(Refusal, match="not on record"):
            await installation.vault.rotate("github", "without-the-ledger")
        assert installation.vault.state.anchor == before
        stored = installation.vault.find("github")
        assert stored is not None
        installation.vault.touch(stored)
        await installation.rotate("github", "the-second-secret")
    await once(layout, NOWHERE)


async def test_every_outcome_of_a_change_says_what_the_vault_holds(layout: DataLayout) -> None:
    async with kept(layout, NOWHERE) as installation:
        first = installation.vault.state.anchor.generation
        await installation.store("github", "the-first-secret")
        with pytest.raises(Refusal):
            await installation.store("github", "the-first-secret")
        await installation.step.set()
        await installation.step.lift()
        entries = [entry for entry in await installation.recorder.events() if entry.phase == "outcome"]
        found = [entry.as_dict()["details"]["vault_generation"] for entry in entries]
        assert found == [first + 1, first + 1, first + 2, first + 3]
        with LedgerReader(layout.ledger) as reader:
            newest = rollback.newest_anchor(reader)
        assert newest is not None
        assert newest.anchor == installation.vault.state.anchor
