from __future__ import annotations

import asyncio
import os
import sqlite3

import pytest
from backup_world import KEY, SECRET, SERVICES, binding_for, quiet
from ledger_keys import note_of

from mycelos.ledger.chain import EMPTY
from mycelos.ledger.verify import Verdict
from mycelos.prove.ledger_copy import unguarded
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.reopen import reopen
from mycelos.proxy.backup.snapshot import open_read_only
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.ledger.database import LedgerError, open_for_writing
from mycelos.proxy.ledger.heads import remember, remembered_heads
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.rollback import WAYS_ON
from mycelos.proxy.tables import PASSKEYS
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.keys import LEDGER_SIGNING_KEY
from mycelos.wire.operator import WebAnswer
from mycelos.wire.problems import Refusal


def reopened(world, **options):
    options = {"restored": None, "stay_locked": False, "step": quiet, **options}
    return reopen(world.layout, KEY, **options)


def entries(world):
    with LedgerReader(world.layout.ledger) as reader:
        return [entry.as_dict() for entry in reader.newest(1000)]


@pytest.fixture
def vault_after(world):
    """Opens the vault that a reopening left behind; closed at the end."""
    opened = []

    def open_():
        opened.append(Vault.open(world.layout, KEY))
        return opened[0]

    yield open_
    for vault in opened:
        vault.close()


def test_every_credential_is_parked_and_none_is_used(world, vault_after):
    assert reopened(world).parked == SERVICES
    vault = vault_after()
    for credential in vault.list():
        assert credential.parked_at is not None
        with pytest.raises(Refusal, match="credential_unknown") as caught:
            vault.find(credential.service)
        assert caught.value.problem.next.endswith(f"mycelos credential confirm {credential.service}")
        with pytest.raises(Refusal, match="credential_unknown"), vault.open_secret(credential):
            pass


def test_a_parked_secret_is_still_taken_out_of_answers(world, vault_after):
    reopened(world)
    with vault_after().secrets_for_host("github.example") as (secret,):
        assert secret.matches(f"{SECRET}-0".encode())


@pytest.mark.anyio
async def test_a_new_secret_or_binding_does_not_confirm_and_the_operators_word_does(world, vault_after):
    # In a thread of its own, as the command line does it: the function has a loop of its own.
    await asyncio.to_thread(reopened, world)
    vault = vault_after()
    await vault.rotate("github", f"{SECRET}-new")
    await vault.bind("github", (binding_for("other.example"),))
    with pytest.raises(Refusal):
        vault.find("github")
    confirmed = await vault.confirm("github")
    assert confirmed.parked_at is None
    with vault.open_secret(vault.find("github")) as secret:
        assert secret.matches(f"{SECRET}-new".encode())
    with pytest.raises(Refusal):
        vault.find("slack")


def test_nothing_lets_out_any_more_and_it_is_told_what_did(world, vault_after):
    done = reopened(world)
    assert ("https", "rule.example", 443) in {(rule.scheme, rule.host, rule.port) for rule in done.rules}
    assert done.web is WebAnswer.ON
    vault = vault_after()
    rules = EgressRules.open(vault.database, vault.keys)
    assert rules.list() == []
    assert rules.web is WebAnswer.UNANSWERED


def test_nobody_is_signed_in_any_more(world):
    vault = Vault.open(world.layout, KEY)
    row = {
        "id": "passkey_1", "tenant_id": DEFAULT_TENANT, "label": "", "credential_id": b"1", "public_key": b"2",
        "sign_count": 0, "created_at": "then", "kid": vault.keys.kid, "row_mac": b"3",
    }  # fmt: skip
    vault.database.run_now(lambda connection: connection.execute(PASSKEYS.insert().values(**row)))
    vault.close()
    done = reopened(world)
    assert (done.passkeys, done.sessions) == (1, 1)
    with open_read_only(world.layout.vault) as connection:
        assert connection.execute("SELECT count(*) FROM passkeys").fetchone() == (0,)
    with open_read_only(world.layout.gateway_database) as connection:
        assert connection.execute(
            "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM links)"
        ).fetchone() == (0, 0)
        assert connection.execute("SELECT title FROM chats").fetchall() == [("about moss",)]


def test_the_ledger_goes_on_in_a_new_epoch_with_the_old_head_inside(world):
    before = entries(world)
    done = reopened(world, restored={"file_label": "b.age", "seq": 3})
    after = entries(world)
    assert after[: len(before)] == before
    new = after[len(before) :]
    assert {entry["epoch"] for entry in new} == {before[-1]["epoch"] + 1}
    assert [entry["event"] for entry in new] == [
        "ledger.restored", "credential.parked", "credential.parked", "egress.rule_changed", "egress.rule_changed",
        "egress.rule_changed", "egress.rule_changed", "egress.rule_changed", "backup.restored", "ledger.restored",
    ]  # fmt: skip
    assert {entry["source"] for entry in new} == {"operator"}
    intent, outcome = new[0], new[-1]
    assert intent["details"] == {"seq": before[-1]["seq"], "leaf_hash": before[-1]["leaf_hash"]}
    assert (done.old_head.seq, done.old_head.leaf_hash) == (before[-1]["seq"], before[-1]["leaf_hash"])
    assert (outcome["phase"], outcome["intent_seq"], outcome["outcome"]) == ("outcome", intent["seq"], "ok")
    assert new[1]["details"]["hosts"] == ["https://github.example:443"]
    assert (done.head.seq, done.head.leaf_hash) == (after[-1]["seq"], after[-1]["leaf_hash"])


def test_an_adopted_folder_says_nothing_of_a_backup(world):
    reopened(world)
    assert "backup.restored" not in {entry["event"] for entry in entries(world)}


def test_the_heads_that_would_contradict_are_renewed(world):
    for path in (world.layout.command_line_head, world.layout.gateway_head):
        remember(path, note_of(400))
    done = reopened(world)
    remembered = remembered_heads(world.layout)
    found = verify_ledger(world.layout.ledger, remembered.evidence)
    assert (found.result.verdict, len(found.result.compared)) == (Verdict.HOLDS, 2)
    assert set(remembered.notes.values()) == {found.checkpoint.encode()}
    assert found.result.head == done.head


def test_a_gateway_that_remembered_nothing_is_given_nothing(world):
    reopened(world)
    assert not world.layout.gateway_head.exists()


def test_a_lockdown_stays(world, vault_after):
    assert reopened(world, stay_locked=True).locked
    vault = vault_after()
    assert Lockdown.open(vault.database, vault.keys).state.locked
    assert "lockdown.set" in {entry["event"] for entry in entries(world)}


def test_without_one_nothing_is_locked_down(world, vault_after):
    assert not reopened(world).locked
    vault = vault_after()
    assert not Lockdown.open(vault.database, vault.keys).state.locked


def test_run_again_it_says_and_does_the_same(world):
    first = reopened(world)
    second = reopened(world)
    assert (second.parked, second.rules, second.sessions) == (first.parked, (), 0)
    assert second.old_head == first.head


def test_while_something_runs_nothing_is_written(world):
    before = entries(world)
    vault = Vault.open(world.layout, KEY)
    with pytest.raises(VaultError, match="Another process"):
        reopened(world)
    vault.close()
    assert entries(world) == before


def without_ledger(world):
    for suffix in ("", "-wal", "-shm"):
        world.layout.ledger.with_name(world.layout.ledger.name + suffix).unlink(missing_ok=True)


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_vault_whose_ledger_is_gone_is_taken_over_and_the_new_one_says_so(world, is_empty):
    without_ledger(world)
    if is_empty:
        open_for_writing(world.layout.ledger).close()
    done = reopened(world)
    assert (done.old_head, bool(done.parked)) == (EMPTY, True)
    named, first = entries(world)[:2]
    assert (named["event"], first["event"]) == ("ledger.checkpoint", "ledger.restored")
    assert first["reason"] == "there was no ledger any more"


def test_where_nothing_was_ever_done_there_is_nothing_to_take_over(layout):
    Vault.open(layout, KEY).close()
    with pytest.raises(BackupError, match="nothing to take over") as caught:
        reopen(layout, KEY, restored=None, stay_locked=False, step=lambda _name: None)
    # A start is refused where a head is remembered: that word would lead in a circle.
    assert caught.value.next_step == WAYS_ON
    assert "mycelos serve" not in WAYS_ON


@pytest.mark.parametrize(
    "body",
    [
        "SELECT raise(ignore)",
        f"SELECT count(*) FROM {', '.join(f'sqlite_master AS m{number}' for number in range(16))}",
    ],
)
def test_a_trigger_of_a_hostile_gateway_neither_stops_nor_survives_it(world, body):
    with sqlite3.connect(world.layout.gateway_database) as connection:
        for table in ("sessions", "links"):
            connection.execute(f"CREATE TRIGGER keep_{table} BEFORE DELETE ON {table} BEGIN {body}; END")
        connection.execute("CREATE VIEW v AS SELECT 1")
    connection.close()
    assert reopened(world).sessions == 1
    with open_read_only(world.layout.gateway_database) as connection:
        assert connection.execute("SELECT * FROM sessions UNION ALL SELECT * FROM links").fetchall() == []
        assert connection.execute("SELECT name FROM sqlite_master WHERE type <> 'table'").fetchall() == []


@pytest.mark.parametrize("kind", ["pipe", "corrupt", "link"])
def test_a_gateway_database_that_is_none_stops_it_before_anything_is_written_and_says_how_to_go_on(world, kind):
    place, before = world.layout.gateway_database, entries(world)
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(world.layout.ledger)
    else:
        place.write_bytes(b"not a database" * 500)
    with pytest.raises(BackupError, match="move gateway.sqlite"):
        reopened(world)
    assert entries(world) == before
    place.rename(world.folder / "evidence")
    assert reopened(world).sessions == 0


async def swap_signing_key(vault):
    await vault.long_lived.replace(
        vault.long_lived.in_use(LEDGER_SIGNING_KEY), vault.long_lived.make(LEDGER_SIGNING_KEY)
    )


def another_key(world):
    vault = Vault.open(world.layout, KEY)
    asyncio.run(swap_signing_key(vault))
    vault.close()


def foreign_checkpoint(world):
    with unguarded(world.layout.ledger) as connection:
        connection.execute("UPDATE checkpoints SET note = ?", (note_of(1),))


def broken_link(world):
    with unguarded(world.layout.ledger) as connection:
        connection.execute("UPDATE audit_events SET subject = 'other' WHERE seq = 1")


def state_of(world):
    vault = Vault.open(world.layout, KEY)
    vault.close()
    return installation_of(world.layout.vault), vault.state.anchor


def altered_schema(world):
    with unguarded(world.layout.ledger) as connection:
        connection.execute("ANALYZE")


@pytest.mark.parametrize("damage", [another_key, foreign_checkpoint, broken_link, altered_schema])
def test_a_ledger_that_cannot_be_taken_over_leaves_the_vault_as_it_was_and_what_is_said_leads_on(world, damage):
    damage(world)
    before = state_of(world)
    with pytest.raises(BackupError, match="The ledger cannot be taken over: .* Nothing was changed") as caught:
        reopened(world)
    assert state_of(world) == before
    # The command itself is no way out of its own refusal.
    assert "backup adopt" not in str(caught.value)
    assert "move" in caught.value.next_step
    for path in world.layout.ledger.parent.glob("ledger.*"):
        path.rename(world.folder / path.name)
    done = reopened(world)
    assert (done.old_head, done.parked) == (EMPTY, SERVICES)


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link"])
@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.signed"])
def test_what_is_no_plain_file_of_the_ledger_leaves_the_vault_as_it_was_and_what_is_said_leads_on(world, name, kind):
    path, kept = world.layout.ledger.with_name(name), world.folder / name
    path.rename(kept)
    {"FIFO": os.mkfifo, "directory": os.mkdir, "link": lambda where: where.symlink_to(kept)}[kind](path)
    before = state_of(world)
    with pytest.raises(LedgerError) as caught:
        reopened(world)
    assert state_of(world) == before
    assert f"{path} " in str(caught.value)
    assert str(caught.value).endswith("mycelos backup adopt")
    # As it is said: of the ledger's file, all beside it too; of the last signed note, that alone.
    for each in world.layout.ledger.parent.glob("ledger.*" if name == "ledger.sqlite" else name):
        each.rename(world.folder / f"{each.name}.evidence")
    done = reopened(world)
    assert (done.old_head == EMPTY, done.parked) == (name == "ledger.sqlite", SERVICES)


def test_a_ledger_that_others_can_read_leaves_the_vault_as_it_was_and_is_taken_over_when_they_cannot(world):
    world.layout.ledger.chmod(0o640)
    before = state_of(world)
    with pytest.raises(LedgerError, match=f"chmod 600 {world.layout.ledger}"):
        reopened(world)
    assert state_of(world) == before
    world.layout.ledger.chmod(0o600)
    assert reopened(world).old_head != EMPTY


def test_the_twin_without_the_look_before_the_vault_has_another_name_after_a_refusal(world, monkeypatch):
    another_key(world)
    before = state_of(world)
    monkeypatch.setattr("mycelos.proxy.backup.reopen._demand_usable", lambda *_: None)
    with pytest.raises(LedgerError, match="not of the same time"):
        reopened(world)
    after = state_of(world)
    assert (after[0] != before[0], after[1].generation) == (True, before[1].generation + 1)


def test_a_key_that_does_not_open_leaves_the_vault_as_it_was(world):
    with sqlite3.connect(world.layout.vault) as connection:
        connection.execute("UPDATE wrapped_keys SET wrapped_key = zeroblob(length(wrapped_key))")
    connection.close()
    before = installation_of(world.layout.vault)
    with pytest.raises(VaultError, match="was altered outside Mycelos"):
        reopened(world)
    assert installation_of(world.layout.vault) == before


def test_of_a_backup_whose_ledger_cannot_be_taken_over_another_one_is_asked_for(world):
    foreign_checkpoint(world)
    with pytest.raises(BackupError, match="Use another backup"):
        reopened(world, restored={"file_label": "b.age", "seq": 3})
