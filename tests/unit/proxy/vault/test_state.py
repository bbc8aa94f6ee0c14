"""The vault's state: no writer can forget it, and no row can be altered, removed or put back without it showing."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.canonical import CanonicalError
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.operator_settings import OperatorSettings, Setting
from mycelos.proxy.tables import KEY_SLOTS, METADATA, REVISIONS, VAULT_STATE
from mycelos.proxy.vault.envelope import make_slot
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.state import OUTSIDE, TABLES, Anchor, VaultState, digest_of, row_digest, times_of_keys
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Method
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio

SECRET = "a-secret-of-tests"
NOT_THE_SAME = "altered, removed or put back"


def fill_columns(connection: sa.Connection, table: sa.Table, kid: str) -> None:
    """A row with a value in every column of ``table``, whatever may mean."""
    values: dict[str, Any] = {}
    for column in table.columns:
        is_bytes = isinstance(column.type, sa.LargeBinary)
        values[column.name] = b"x" if is_bytes else 7 if isinstance(column.type, sa.Integer) else "x"
    if "kid" in values:
        values["kid"] = kid
    connection.execute(table.insert().values(values))


def generation_of(vault: Vault) -> int:
    return vault.state.anchor.generation


def counted(vault: Vault, work: Callable[[sa.Connection], Any]) -> int:
    """By how much ``work``, in a transaction of its own, moves the generation."""
    before = generation_of(vault)
    vault.database.run_now(work)
    return generation_of(vault) - before


def sql(path: Path, *statements: str) -> None:
    """Change the file as somebody without Mycelos would."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def rows_of(path: Path, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return rows


def put_back(path: Path, table: str, rows: list[tuple[Any, ...]]) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"DELETE FROM {table}")
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.commit()
    connection.close()


async def test_every_change_that_decides_moves_the_state_by_one_and_no_use_does(
    vault: Vault, binding: Callable
) -> None:
    rules = EgressRules.open(vault.database, vault.keys)
    lockdown = Lockdown.open(vault.database, vault.keys)
    seen = [vault.state.anchor]

    def moved() -> int:
        seen.append(vault.state.anchor)
        return seen[-1].generation - seen[-2].generation

    stored = await vault.store("github", "", (binding(),), SECRET)
    assert moved() == 1
    await vault.rotate("github", "another-secret")
    assert moved() == 1
    await vault.bind("github", (binding("b.example"),))
    assert moved() == 1
    rule = await rules.add(Method.GET, "https", "a.example", 443)
    assert moved() == 1
    await rules.set_web(enabled=True)
    assert moved() == 1
    await rules.remove(rule.id)
    assert moved() == 1
    lockdown.stop()
    await lockdown.keep()
    assert moved() == 1
    await lockdown.lift()
    assert moved() == 1
    with vault.wrapped_key("ledger-mac"):
        assert moved() == 1
    with vault.wrapped_key("ledger-mac"):
        assert moved() == 0
    vault.touch(stored)
    vault.database.run_now(vault._write_used)
    assert moved() == 0
    await rules.add(Method.GET, "https", "a.example", 443)
    await vault.delete("github")
    assert moved() == 2
    assert len({anchor.digest for anchor in seen}) == len({anchor.generation for anchor in seen})


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_statement_on_any_column_of_any_table_goes_unseen(vault: Vault, table: sa.Table) -> None:
    def loose(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")

    cases = 0
    for column in table.columns:
        is_bytes = isinstance(column.type, sa.LargeBinary)
        value = b"y" if is_bytes else 8 if isinstance(column.type, sa.Integer) else "y"
        before = vault.state.anchor
        moved: list[bool] = []

        def change(
            connection: sa.Connection, name: str = column.name, value: Any = value, moved: list[bool] = moved
        ) -> None:
            loose(connection)
            attempt = connection.begin_nested()
            connection.execute(table.delete())
            fill_columns(connection, table, vault.keys.kid)
            moved.append(vault.state.settle(connection) is not None)
            connection.execute(table.update().values({name: value}))
            moved.append(vault.state.settle(connection) is not None)
            attempt.rollback()

        vault.database.run_now(change)
        assert moved == [True, column.name not in OUTSIDE.get(table.name, ())], column.name
        assert vault.state.anchor == before
        cases += 1
    assert cases == len(table.columns)


def test_every_table_but_the_state_s_own_and_alembic_s_is_inside() -> None:
    assert set(METADATA.tables.values()) - set(TABLES) == {REVISIONS, VAULT_STATE}
    known = {(table.name, column.name) for table in TABLES for column in table.columns}
    assert {(table, column) for table, columns in OUTSIDE.items() for column in columns} <= known


async def test_a_removal_that_cascades_and_a_replacement_are_seen(vault: Vault, binding: Callable) -> None:
    await vault.store("github", "", (binding(),), SECRET)
    both = [place for place in vault.state._rows if place[0].startswith("credential")]
    assert len(both) == 2
    assert counted(vault, lambda connection: connection.exec_driver_sql("DELETE FROM credentials")) == 1
    assert not [place for place in vault.state._rows if place[0].startswith("credential")]
    replace = "INSERT OR REPLACE INTO operator_settings VALUES ('tenant_x', 'n', '{}', 'x', '{}', x'00')"
    kid = vault.keys.kid
    for value in ("one", "two"):
        statement = replace.format(value, kid)
        assert counted(vault, lambda connection, text=statement: connection.exec_driver_sql(text)) == 1
    assert len([place for place in vault.state._rows if place[0] == "operator_settings"]) == 2


async def test_what_a_transaction_takes_back_moves_nothing(vault: Vault, binding: Callable) -> None:
    before = vault.state.anchor

    def fail(connection: sa.Connection) -> None:
        OperatorSettings(vault.keys).write(connection, Setting.WEB, "on")
        message = "in the middle"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="in the middle"):
        vault.database.run_now(fail)
    assert vault.state.anchor == before
    await vault.store("github", "", (binding(),), SECRET)
    assert generation_of(vault) == before.generation + 1


async def test_the_state_kept_in_memory_is_the_one_that_the_next_opening_computes(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    for number in range(7):
        await vault.store(f"{'abcdefg'[number] * 9}", "", (binding(),), SECRET)
    await vault.rotate("aaaaaaaaa", "another-secret")
    await vault.delete("ccccccccc")
    last = vault.state.anchor
    vault.close()
    again = Vault.open(layout, master_key)
    assert again.state.anchor == last
    again.close()


async def test_a_state_that_cannot_be_written_keeps_the_change_out_as_well(
    vault: Vault, binding: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise VaultError(detail="the state cannot be written", next_step="")

    monkeypatch.setattr("mycelos.proxy.vault.state._write", refuse)
    with pytest.raises(VaultError):
        await vault.store("github", "", (binding(),), SECRET)
    monkeypatch.undo()
    assert vault.list() == []
    await vault.store("github", "", (binding(),), SECRET)


def open_changed(layout: DataLayout, master_key: bytes) -> VaultError:
    before = layout.vault.read_bytes()
    with pytest.raises(VaultError) as caught:
        Vault.open(layout, master_key)
    assert layout.vault.read_bytes() == before
    assert "mycelos backup adopt" in caught.value.next_step
    return caught.value


STATE_CHANGES = [
    "UPDATE vault_state SET generation = generation + 1",
    "UPDATE vault_state SET generation = generation - 1",
    "UPDATE vault_state SET generation = 9007199254740993",
    "UPDATE vault_state SET digest = zeroblob(32)",
    "UPDATE vault_state SET row_mac = zeroblob(32)",
    "UPDATE vault_state SET tenant_id = 'tenant_x'",
    "UPDATE vault_state SET kid = 'kid_x'",
    "INSERT INTO vault_state SELECT 'tenant_x', generation, digest, kid, row_mac FROM vault_state",
]


@pytest.mark.parametrize("statement", STATE_CHANGES)
def test_a_state_that_was_altered_is_refused(layout: DataLayout, master_key: bytes, statement: str) -> None:
    Vault.open(layout, master_key).close()
    sql(layout.vault, statement)
    assert NOT_THE_SAME in open_changed(layout, master_key).detail


def test_a_state_that_was_removed_is_refused(layout: DataLayout, master_key: bytes) -> None:
    Vault.open(layout, master_key).close()
    sql(layout.vault, "DELETE FROM vault_state")
    assert "was removed" in open_changed(layout, master_key).detail


async def test_a_row_that_is_missing_is_missed(layout: DataLayout, master_key: bytes, binding: Callable) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "", (binding(),), SECRET)
    await vault.store("another", "", (binding(),), SECRET)
    await EgressRules.open(vault.database, vault.keys).set_web(enabled=False)
    with vault.wrapped_key("ledger-mac"):
        vault.close()
    cases = 0
    for table in ("credentials", "credential_versions", "operator_settings", "wrapped_keys"):
        rows = rows_of(layout.vault, table)
        for number, row in enumerate(rows):
            put_back(layout.vault, table, [*rows[:number], *rows[number + 1 :]] or [row])
            if len(rows) == 1:
                sql(layout.vault, f"DELETE FROM {table}")
            assert NOT_THE_SAME in open_changed(layout, master_key).detail
            cases += 1
        put_back(layout.vault, table, rows)
    Vault.open(layout, master_key).close()
    assert cases == 2 + 2 + 2 + 1


async def test_a_rule_or_a_lockdown_of_yesterday_is_not_revived(layout: DataLayout, master_key: bytes) -> None:
    vault = Vault.open(layout, master_key)
    rules, lockdown = EgressRules.open(vault.database, vault.keys), Lockdown.open(vault.database, vault.keys)
    rule = await rules.add(Method.GET, "https", "a.example", 443)
    # Lifted first, then set: the row that says "lifted" is the one that an attacker would like to have back.
    lockdown.stop()
    await lockdown.keep()
    await lockdown.lift()
    vault.close()
    old = {table: rows_of(layout.vault, table) for table in ("egress_rules", "operator_settings")}
    vault = Vault.open(layout, master_key)
    rules, lockdown = EgressRules.open(vault.database, vault.keys), Lockdown.open(vault.database, vault.keys)
    await rules.remove(rule.id)
    lockdown.stop()
    await lockdown.keep()
    vault.close()
    for table, rows in old.items():
        present = rows_of(layout.vault, table)
        put_back(layout.vault, table, rows)
        assert NOT_THE_SAME in open_changed(layout, master_key).detail
        if present:
            put_back(layout.vault, table, present)
        else:
            sql(layout.vault, f"DELETE FROM {table}")
    vault = Vault.open(layout, master_key)
    assert Lockdown.open(vault.database, vault.keys).state.locked
    vault.close()


async def test_without_the_state_a_rule_of_yesterday_would_be_revived(
    layout: DataLayout, master_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault.open(layout, master_key)
    rules = EgressRules.open(vault.database, vault.keys)
    rule = await rules.add(Method.GET, "https", "a.example", 443)
    vault.close()
    old = rows_of(layout.vault, "egress_rules")
    vault = Vault.open(layout, master_key)
    await EgressRules.open(vault.database, vault.keys).remove(rule.id)
    vault.close()
    put_back(layout.vault, "egress_rules", old)
    monkeypatch.setattr("mycelos.proxy.vault.state._demand_same", lambda stored, _digest: stored[0][0])
    vault = Vault.open(layout, master_key)
    assert EgressRules.open(vault.database, vault.keys).match("GET", "https", "a.example", 443)
    vault.close()


async def test_a_writer_that_nobody_watches_is_found_at_the_next_opening(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    vault.database._watcher = None
    await vault.store("github", "", (binding(),), SECRET)
    vault.close()
    assert NOT_THE_SAME in open_changed(layout, master_key).detail


async def test_who_adopts_takes_what_is_there_and_goes_on_from_a_later_generation(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "", (binding(),), SECRET)
    last = vault.state.anchor
    vault.close()
    sql(layout.vault, "DELETE FROM credentials")
    open_changed(layout, master_key)
    for change in ("UPDATE vault_state SET row_mac = zeroblob(32)", "UPDATE vault_state SET generation = -7"):
        vault = Vault.open(layout, master_key, adopt=True)
        assert vault.list() == []
        assert vault.state.anchor.generation == last.generation + 1
        last = vault.state.anchor
        vault.close()
        Vault.open(layout, master_key).close()
        sql(layout.vault, change)
    vault = Vault.open(layout, master_key, adopt=True)
    # Nothing is left to count from. That the ledger speaks of a later one is for `ledger.restored` to settle.
    assert vault.state.anchor.generation == 1
    vault.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE key_slots SET wraps = 2, created_at = created_at", ""),
        ("UPDATE key_slots SET wraps = wraps + 1000", ""),
        ("UPDATE credentials SET last_used_at = '2020-01-01T00:00:00Z'", ""),
        ("UPDATE credentials SET version = 9007199254740993", "a value that Mycelos does not write"),
    ],
)
async def test_what_lies_outside_may_move_and_what_cannot_be_told_is_refused(
    layout: DataLayout, master_key: bytes, binding: Callable, statement: str, what: str
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "", (binding(),), SECRET)
    vault.close()
    sql(layout.vault, statement)
    if not what:
        Vault.open(layout, master_key).close()
        return
    with pytest.raises(VaultError, match=what):
        Vault.open(layout, master_key)


def test_a_value_of_another_type_than_the_column_s_is_refused(vault: Vault) -> None:
    def read(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TEMP TABLE odd AS SELECT * FROM key_slots")
        connection.exec_driver_sql("UPDATE temp.odd SET wrapped_root = 'text', wraps = 1.5")
        connection.exec_driver_sql("ALTER TABLE main.key_slots RENAME TO kept")
        connection.exec_driver_sql("ALTER TABLE temp.odd RENAME TO key_slots")
        VaultState.open(connection, vault.keys, is_new=False)

    with pytest.raises(VaultError, match="table key_slots holds a value"):
        vault.database.run_now(read)


def test_the_times_of_the_long_lived_keys_are_told(vault: Vault) -> None:
    assert vault.database.run_now(times_of_keys) == ()
    with vault.wrapped_key("ledger-mac"), vault.wrapped_key("other"):
        assert len(vault.database.run_now(times_of_keys)) == 2


def test_a_row_s_digest_is_that_of_its_canonical_form_and_null_is_left_out() -> None:
    columns = {"id": "x", "kid": "é\n", "wrapped_key": b"\x00\xff", "retired_at": None}
    form = {"format": "mycelos/state-row/1", "table": "t", "columns": {"id": "x", "kid": "é\n", "wrapped_key": "00ff"}}
    assert row_digest("t", columns) == hashlib.sha256(rfc8785.dumps(form)).digest()
    assert row_digest("t", columns) != row_digest("u", columns)
    assert row_digest("t", {**columns, "retired_at": "x"}) != row_digest("t", columns)
    with pytest.raises(CanonicalError):
        row_digest("t", {"id": 1.5})  # what a damaged file could hold


def test_an_anchor_names_its_fields() -> None:
    assert Anchor(3, "ab").details() == {"vault_generation": 3, "vault_digest": "ab"}


def make_state_vector() -> dict[str, Any]:
    """Rows as they could lie in a vault, their digests, and the state's own row."""
    root = bytes(range(32))
    _, keys = make_slot(bytes(32), "tenant_x", "kid_x", "2026-01-02T03:04:05Z", lambda count: root[:count])
    rows: list[dict[str, Any]] = [
        {"table": "egress_rules", "columns": {"id": "rule_x", "tenant_id": "tenant_x", "method": "GET",
         "scheme": "https", "host": "api.example.com", "port": 443, "created_at": "2026-01-02T03:04:05Z",
         "kid": "kid_x", "row_mac": "00ff"}, "bytes": ["row_mac"]},
        {"table": "credentials", "columns": {"id": "cred_x", "tenant_id": "tenant_x", "service": "example",
         "version": 2, "created_at": "2026-01-02T03:04:05Z", "last_used_at": "2026-02-02T03:04:05Z",
         "parked_at": None, "kid": "kid_x", "row_mac": "0102"}, "bytes": ["row_mac"]},
    ]  # fmt: skip
    for row in rows:
        columns = {
            name: bytes.fromhex(value) if name in row["bytes"] else value for name, value in row["columns"].items()
        }
        row["digest"] = row_digest(row["table"], columns).hex()
    digest = digest_of(sorted(bytes.fromhex(row["digest"]) for row in rows))
    state = {"tenant_id": "tenant_x", "generation": 7, "digest": digest, "kid": "kid_x"}
    return {
        "root": root.hex(),
        "rows": rows,
        "state": {**state, "row_mac": keys.row_mac("vault_state", state).hex()},
    }


def test_the_state_is_that_of_the_golden_file(repository: Path) -> None:
    assert make_state_vector() == json.loads((repository / "tests/vectors/vault/state-v1.json").read_text())


def test_the_golden_state_is_checked_with_nothing_but_the_written_format(repository: Path) -> None:
    vector = json.loads((repository / "tests/vectors/vault/state-v1.json").read_text())
    outside = {"credentials": {"last_used_at"}, "key_slots": {"wraps"}}

    def canonical(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    digests = []
    for row in vector["rows"]:
        left = outside.get(row["table"], set())
        columns = {name: value for name, value in row["columns"].items() if value is not None and name not in left}
        form = {"format": "mycelos/state-row/1", "table": row["table"], "columns": columns}
        digests.append(hashlib.sha256(canonical(form)).digest())
        assert digests[-1].hex() == row["digest"]
    state = dict(vector["state"])
    assert hashlib.sha256(b"mycelos/vault-state/1\x00" + b"".join(sorted(digests))).hexdigest() == state["digest"]
    extracted = hmac.digest(bytes(32), bytes.fromhex(vector["root"]), "sha256")
    row_mac_key = hmac.digest(extracted, b"mycelos/vault/1/row-mac\x01", "sha256")
    tag = state.pop("row_mac")
    form = {"format": "mycelos/row/1", "table": "vault_state", "columns": state}
    assert hmac.digest(row_mac_key, canonical(form), "sha256").hex() == tag


def test_a_connection_that_lost_its_notes_keeps_no_change(vault: Vault) -> None:
    def change(connection: sa.Connection) -> None:
        connection.execute(KEY_SLOTS.update().values(created_at="x"))
        connection.exec_driver_sql("DROP TABLE temp.changed_rows")

    with pytest.raises(Refusal, match="SQLITE_ERROR"):
        vault.database.run_now(change)
    read = vault.database.run_now(lambda connection: connection.scalar(sa.select(KEY_SLOTS.c.created_at)))
    assert read != "x"
