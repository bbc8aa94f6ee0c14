"""Claim V1: somebody without the key who may write to the vault's file flips, swaps, renames, removes, revives.

Each case is a change of the file's rows, judged by what an opening of the vault does: it refuses. The second wall is
judged beside it: with the state adopted, no record gives a secret under a name, a label or bindings that are not its
own. Every test counts its cases in the loop that makes them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from kept_installation import MASTER_KEY, a_binding
from schema_mutations import MUTATIONS, mutate

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup import reopen
from mycelos.proxy.database import Database
from mycelos.proxy.egress import rules as egress_rules
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.tables import REVISION, VAULT_STATE
from mycelos.proxy.vault import hazmat, records, slots
from mycelos.proxy.vault.envelope import canonical_bindings
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import SealBrokenError
from mycelos.proxy.vault.installation import open_state
from mycelos.proxy.vault.state import OUTSIDE, TABLES
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Method
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio

DEEP = os.environ.get("MYCELOS_TEST_DEPTH") == "deep"
PARTS = 64 if DEEP else 1
"""A walk at depth ``deep`` takes long: each part is a test of its own, so that one that hangs is seen."""
CREDENTIALS = {
    "github": ("mine", "api.github.example", "the-secret-of-github"),
    "gitlab": ("ours", "api.gitlab.example", "the-secret-of-gitlab"),
}
TABLE_NAMES = [table.name for table in TABLES] + [VAULT_STATE.name]
Row = dict[str, Any]
Change = Callable[[sa.Connection], None]


class TakenBackError(Exception):
    """Ends a transaction, so that the next case begins with the vault as it was."""


async def furnish(layout: DataLayout) -> None:
    vault = Vault.open(layout, MASTER_KEY)
    for service, (label, host, secret) in CREDENTIALS.items():
        await vault.store(service, label, (a_binding(host),), secret)
    rules = EgressRules.open(vault.database, vault.keys)
    await rules.add(Method.GET, "https", "rule.example", 443)
    await rules.add(Method.POST, "https", "rule.example", 443)
    await rules.set_web(enabled=False)
    lockdown = Lockdown.open(vault.database, vault.keys)
    lockdown.stop()
    await lockdown.keep()
    with vault.wrapped_key("ledger-args-mac"), vault.wrapped_key("another"):
        vault.close()


def without_rules(layout: DataLayout) -> Database:
    """The file without its key and without SQLite's own rules about rows that belong together."""
    database = Database.open(layout.vault, lambda _connection: None)
    raw = database._engine.raw_connection()
    raw.execute("PRAGMA foreign_keys = OFF")
    raw.close()
    return database


@pytest.fixture
async def database(layout: DataLayout, anyio_backend: str) -> Any:
    """A furnished vault's file, opened without its key: rows can be changed as by somebody else."""
    await furnish(layout)
    database = without_rules(layout)
    yield database
    database.close()


def judge(database: Database, change: Change) -> str:
    """What an opening does after ``change``: ``refused``, or ``opened`` and everything is as it was."""
    verdict = []

    def work(connection: sa.Connection) -> None:
        change(connection)
        slots.demand_fitting_key(connection, MASTER_KEY)
        open_state(connection, MASTER_KEY, slots.system_clock, os.urandom, adopt=False)
        verdict.append("opened")
        raise TakenBackError

    try:
        database.run_now(work)
    except TakenBackError:
        return verdict[0]
    except (VaultError, Refusal):
        return "refused"
    pytest.fail("the work ends in one of these")


def given_when_adopted(database: Database, change: Change) -> list[str]:
    """The services whose records are used where the state was adopted; each has its own secret, label and bindings."""
    found: list[str] = []

    def work(connection: sa.Connection) -> None:
        change(connection)
        slots.demand_fitting_key(connection, MASTER_KEY)
        keys = open_state(connection, MASTER_KEY, slots.system_clock, os.urandom, adopt=True).keys.slot
        for service, stored in records.read_records(connection, keys).records.items():
            try:
                with hazmat.open_record(keys, stored.sealed) as secret:
                    label, host, right = CREDENTIALS[service]
                    assert secret.matches(right.encode())
                    assert (stored.credential.label, stored.sealed.label) == (label, label)
                    assert stored.sealed.bindings == canonical_bindings((a_binding(host),))
                    found.append(service)
            except SealBrokenError:
                continue
        raise TakenBackError

    try:
        database.run_now(work)
    except (TakenBackError, VaultError, Refusal):
        return found
    pytest.fail("the work ends in one of these")


def rows_of(database: Database) -> dict[str, list[Row]]:
    """Every row of every table, its number in the file beside its columns."""

    def read(connection: sa.Connection) -> dict[str, list[Row]]:
        return {
            name: [dict(row._mapping) for row in connection.exec_driver_sql(f"SELECT rowid AS _row, * FROM {name}")]
            for name in TABLE_NAMES
        }

    return database.run_now(read)


def set_cells(table: str, row: int, values: Row) -> Change:
    marks = {name: "CAST(? AS TEXT)" if isinstance(value, bytearray) else "?" for name, value in values.items()}
    names = ", ".join(f"{name} = {mark}" for name, mark in marks.items())

    def change(connection: sa.Connection) -> None:
        given = tuple(bytes(value) if isinstance(value, bytearray) else value for value in values.values())
        connection.exec_driver_sql(f"UPDATE {table} SET {names} WHERE rowid = ?", (*given, row))

    return change


def flipped(value: Any, step: int = 1) -> Iterator[tuple[Any, str]]:
    """``value`` with one bit changed: each at depth ``deep``, else one in ``step`` bytes. Text as bytearray."""
    if value is None:
        return
    kind = type(value)
    raw = value.to_bytes(8, "big", signed=True) if kind is int else value.encode() if kind is str else value
    for place in range(0, len(raw), 1 if DEEP else step):
        for bit in range(8) if DEEP else (place % 8,):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            where = f"byte {place} bit {bit}"
            if kind is int:
                yield int.from_bytes(changed, "big", signed=True), where
            else:
                yield changed if kind is str else bytes(changed), where


def bits_of(value: Any) -> int:
    if value is None:
        return 0
    return 64 if isinstance(value, int) else 8 * len(value.encode() if isinstance(value, str) else value)


def cells_of(database: Database, part: int, tables: Sequence[str] = TABLE_NAMES) -> Iterator[tuple[str, int, str, Any]]:
    """Table, row, column and value of every ``PARTS``-th value, from the one numbered ``part``."""
    rows = rows_of(database)
    cells = (
        (table, row["_row"], name, value)
        for table in tables
        for row in rows[table]
        for name, value in row.items()
        if name != "_row"
    )
    return itertools.islice(cells, part, None, PARTS)


@pytest.mark.parametrize("part", range(PARTS))
async def test_each_flipped_bit_of_each_value_is_refused(database: Database, part: int) -> None:
    refused = left_out = bits = 0
    for table, row, name, value in cells_of(database, part):
        for changed, where in flipped(value):
            verdict = judge(database, set_cells(table, row, {name: changed}))
            expected = "opened" if name in OUTSIDE.get(table, frozenset()) else "refused"
            assert verdict == expected, f"{table}.{name} {where}"
            refused += verdict == "refused"
            left_out += verdict == "opened"
        bits += bits_of(value)
    print(f"part {part}: {refused} flips of {bits} bits refused, {left_out} in columns that decide nothing")
    assert refused + left_out == (bits if DEEP else bits // 8)
    if PARTS == 1:
        assert left_out == 8, "key_slots.wraps alone has a value that decides nothing"
        assert refused > 2_500


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_flipped_bit_of_a_record_gives_another_secret_where_the_state_is_adopted(
    database: Database, part: int
) -> None:
    cases = 0
    for table, row, name, value in cells_of(database, part, ("credentials", "credential_versions", "key_slots")):
        for changed, where in flipped(value, step=5):
            given = given_when_adopted(database, set_cells(table, row, {name: changed}))
            if name not in OUTSIDE.get(table, frozenset()):
                assert len(given) < len(CREDENTIALS), f"{table}.{name} {where}"
            cases += 1
    print(f"part {part}: {cases} flips: no record of another name, label, bindings or secret was given")
    assert PARTS > 1 or cases > 250


async def test_each_swap_of_columns_between_two_records_is_refused(database: Database) -> None:
    cases = 0
    for table, rows in rows_of(database).items():
        names = [name for name in (rows[0] if rows else {}) if name != "_row"]
        groups = [(name,) for name in names] + list(itertools.combinations(names, 2)) + [tuple(names[1:])]
        for one, other in itertools.combinations(rows, 2):
            for group in groups:
                differing = {name for name in names if one[name] != other[name]}
                if not differing & set(group) or differing <= set(group):
                    # Nothing is swapped, or two whole rows, whose order means nothing.
                    continue

                def swap(connection: sa.Connection, table=table, one=one, other=other, group=group) -> None:
                    placeholder = {name: f"~{name}" if isinstance(one[name], str) else one[name] for name in group}
                    set_cells(table, one["_row"], placeholder)(connection)
                    set_cells(table, other["_row"], {name: one[name] for name in group})(connection)
                    set_cells(table, one["_row"], {name: other[name] for name in group})(connection)

                assert judge(database, swap) == "refused", (table, group)
                given_when_adopted(database, swap)
                cases += 1
    print(f"{cases} swaps refused")
    assert cases > 100


RENAMES = [
    ("credentials", {"service": "gitlab-2"}),
    ("credentials", {"id": "cred_01hf7yat01e008000000000000"}),
    ("credentials", {"tenant_id": "tenant_other"}),
    ("credentials", {"version": 2}),
    ("credentials", {"version": 0}),
    ("credentials", {"parked_at": "2026-01-01T00:00:00Z"}),
    ("credential_versions", {"label": "another"}),
    ("credential_versions", {"bindings": canonical_bindings((a_binding("evil.example"),))}),
    ("credential_versions", {"bindings": "[]"}),
    ("credential_versions", {"credential_id": "cred_01hf7yat01e008000000000000"}),
    ("credential_versions", {"version": 2}),
    ("egress_rules", {"host": "evil.example"}),
    ("egress_rules", {"host": "*"}),
    ("egress_rules", {"method": "DELETE"}),
    ("egress_rules", {"port": 8443}),
    ("egress_rules", {"scheme": "http"}),
    ("operator_settings", {"value": "on"}),
    ("operator_settings", {"name": "another"}),
    ("wrapped_keys", {"name": "yet-another"}),
    ("wrapped_keys", {"retired_at": "2026-01-01T00:00:00Z"}),
    ("key_slots", {"retired_at": "2026-01-01T00:00:00Z"}),
    ("vault_state", {"generation": 1}),
    ("vault_state", {"generation": 1_000}),
]


async def test_each_rename_and_rebinding_is_refused(database: Database) -> None:
    cases = 0
    for table, values in RENAMES:
        for row in rows_of(database)[table]:
            if all(row[name] == value for name, value in values.items()):
                continue
            change = set_cells(table, row["_row"], values)
            assert judge(database, change) == "refused", (table, values)
            given_when_adopted(database, change)
            cases += 1
    print(f"{cases} renames and rebindings refused")
    assert cases >= len(RENAMES)


async def test_each_removed_row_and_each_doubled_one_is_refused(database: Database) -> None:
    cases = 0
    for table, rows in rows_of(database).items():
        for row in rows:
            statement = f"DELETE FROM {table} WHERE rowid = {row['_row']}"
            assert judge(database, lambda c, statement=statement: c.exec_driver_sql(statement)) == "refused", table
            cases += 1
            names = [name for name in row if name != "_row"]
            first = f"'{row[names[0]]}x'"
            chosen = f"SELECT {', '.join([first, *names[1:]])} FROM {table} WHERE rowid = {row['_row']}"
            copied = f"INSERT INTO {table} {chosen}"
            assert judge(database, lambda c, copied=copied: c.exec_driver_sql(copied)) == "refused", table
            cases += 1
    print(f"{cases} removed and doubled rows refused")
    assert cases >= 2 * 12


def replaced(old: dict[str, list[Row]], *tables: str) -> Change:
    """Put the rows of yesterday in the place of today's."""

    def change(connection: sa.Connection) -> None:
        for table in tables:
            connection.exec_driver_sql(f"DELETE FROM {table}")
            for row in old[table]:
                values = tuple(value for name, value in row.items() if name != "_row")
                marks = ", ".join("?" * len(values))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", values)

    return change


async def day_after(layout: DataLayout) -> None:
    vault = Vault.open(layout, MASTER_KEY)
    await vault.rotate("github", "another-secret-of-github")
    await vault.delete("gitlab")
    rules = EgressRules.open(vault.database, vault.keys)
    for rule in rules.list():
        await rules.remove(rule.id)
    await rules.set_web(enabled=False)
    lockdown = Lockdown.open(vault.database, vault.keys)
    lockdown.stop()
    await lockdown.keep()
    with vault.wrapped_key("a-third"):
        vault.close()


async def test_whatever_stood_there_yesterday_is_refused_today(layout: DataLayout) -> None:
    """Each set of tables but all of them, with rows that Mycelos itself has written and that hold by themselves."""
    await furnish(layout)
    database = Database.open(layout.vault, lambda _connection: None)
    old = rows_of(database)
    database.close()
    await day_after(layout)
    database = without_rules(layout)
    changing = [table for table in TABLE_NAMES if old[table] != rows_of(database)[table] and old[table]]
    assert set(changing) == {
        "credentials", "credential_versions", "egress_rules", "operator_settings", "vault_state", "wrapped_keys",
    } | ({"key_slots"} & set(changing))  # fmt: skip
    deciding = [table for table in changing if table != "key_slots"]
    cases = 0
    for size in range(1, len(deciding)):
        for tables in itertools.combinations(deciding, size):
            assert judge(database, replaced(old, *tables)) == "refused", tables
            cases += 1
    # All of them together is yesterday's file: for the ledger's anchor to notice (tests/unit/proxy/test_rollback.py).
    assert judge(database, replaced(old, *deciding)) == "opened"
    database.close()
    print(f"{cases} returns of yesterday's rows refused")
    assert cases == 2 ** len(deciding) - 2


async def test_without_the_state_yesterday_s_secret_opens(layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: rows that Mycelos has written hold by themselves, and the revoked credential is back."""
    await furnish(layout)
    database = Database.open(layout.vault, lambda _connection: None)
    old = rows_of(database)
    database.close()
    await day_after(layout)
    database = without_rules(layout)
    database.run_now(replaced(old, "credentials", "credential_versions"))
    database.close()
    monkeypatch.setattr("mycelos.proxy.vault.state._demand_same", lambda stored, _digest: stored[0][0])
    vault = Vault.open(layout, MASTER_KEY)
    credential = vault.find("gitlab")
    assert credential is not None
    with vault.open_secret(credential) as secret:
        assert secret.matches(CREDENTIALS["gitlab"][2].encode())
    vault.close()


def places_of(image: bytes) -> list[int]:
    """Every byte of the file at depth ``deep``; else some of those that are not free space, where most is zero."""
    return list(range(len(image))) if DEEP else [place for place, byte in enumerate(image) if byte][::23]


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_flipped_byte_of_the_whole_file_gives_a_wrong_secret(layout: DataLayout, part: int) -> None:
    await furnish(layout)
    connection = sqlite3.connect(layout.vault)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    image = layout.vault.read_bytes()
    counts = {"refused": 0, "opened": 0}
    places = places_of(image)[part::PARTS]
    for place in places:
        bit = 1 << (place % 8)
        counts[try_image(layout, image[:place] + bytes([image[place] ^ bit]) + image[place + 1 :])] += 1
    print(f"part {part}: {sum(counts.values())} flips in a file of {len(image)} bytes: {counts}")
    assert sum(counts.values()) == len(places)
    assert PARTS > 1 or counts["refused"] > 100


def try_image(layout: DataLayout, image: bytes) -> str:
    """Open a vault with these bytes: refused, or everything that it gives is right."""
    for path in layout.proxy.glob("vault.sqlite-*"):
        path.unlink()
    Path(layout.vault).write_bytes(image)
    try:
        vault = Vault.open(layout, MASTER_KEY)
    except VaultError:
        return "refused"
    try:
        assert [credential.service for credential in vault.list()] == sorted(CREDENTIALS)
        for service, (label, host, right) in CREDENTIALS.items():
            credential = vault.find(service)
            assert credential is not None
            assert (credential.label, credential.bindings) == (label, (a_binding(host),))
            with vault.open_secret(credential) as secret:
                assert secret.matches(right.encode())
        rules = EgressRules.open(vault.database, vault.keys)
        assert [(rule.method, rule.host) for rule in rules.list()] == [
            ("GET", "rule.example"),
            ("POST", "rule.example"),
        ]
        assert Lockdown.open(vault.database, vault.keys).state.locked
    finally:
        vault.close()
    return "opened"


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_vault_whose_schema_somebody_changed_is_neither_opened_nor_adopted(
    layout: DataLayout, name: str
) -> None:
    await furnish(layout)
    mutate(layout.vault, MUTATIONS[name])
    before = layout.vault.read_bytes()
    for adopt in (False, True):
        with pytest.raises(VaultError):
            Vault.open(layout, MASTER_KEY, adopt=adopt)
    assert layout.vault.read_bytes() == before


def without_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycelos.proxy.database.demand_own_schema", lambda _execute, _path: REVISION)


def without_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (records, egress_rules, reopen):
        for name in ("change_one", "remove_all"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, LOOKS_AWAY[name])


LOOKS_AWAY = {
    "change_one": lambda connection, statement: connection.execute(statement),
    "remove_all": lambda connection, table, *where: connection.execute(table.delete().where(*where)).rowcount,
}
AUTOINDEX = MUTATIONS["a trigger under an autoindex's name"]
GENERATED = MUTATIONS["a generated column"]


async def delete_one(layout: DataLayout) -> list[str]:
    """The credentials that are there at the next start, after one was deleted."""
    vault = Vault.open(layout, MASTER_KEY)
    try:
        await vault.delete("gitlab")
    finally:
        vault.close()
    vault = Vault.open(layout, MASTER_KEY)
    left = [credential.service for credential in vault.list()]
    vault.close()
    return left


async def test_without_the_comparison_and_the_count_a_deleted_credential_comes_back(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: the deletion is reported as done, and undone by a trigger under an autoindex's name."""
    await furnish(layout)
    mutate(layout.vault, AUTOINDEX)
    without_the_comparison(monkeypatch)
    without_the_count(monkeypatch)
    assert await delete_one(layout) == ["github", "gitlab"]


async def test_without_the_comparison_the_count_still_says_that_nothing_was_deleted(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(layout)
    mutate(layout.vault, AUTOINDEX)
    without_the_comparison(monkeypatch)
    with pytest.raises(Refusal, match="vault_unavailable"):
        await delete_one(layout)


def parked_now(layout: DataLayout) -> list[bool]:
    """Whether each credential is parked at the next start, after an adoption that said so."""
    done = reopen.reopen(layout, MASTER_KEY, restored=None, stay_locked=False, step=lambda _name: None)
    assert done.parked == tuple(sorted(CREDENTIALS))
    vault = Vault.open(layout, MASTER_KEY)
    found = [credential.parked_at is not None for credential in vault.list()]
    vault.close()
    return found


async def furnish_with_a_ledger(layout: DataLayout) -> None:
    await furnish(layout)
    recorder = await Recorder.open(layout.ledger)
    await recorder.close()


async def test_without_the_comparison_and_the_count_an_adoption_parks_nothing_and_says_it_did(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: a column of somebody else's drops each parking without an error."""
    await furnish_with_a_ledger(layout)
    mutate(layout.vault, GENERATED)
    without_the_comparison(monkeypatch)
    without_the_count(monkeypatch)
    assert await asyncio.to_thread(parked_now, layout) == [False, False]


async def test_without_the_comparison_the_count_still_ends_the_adoption(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish_with_a_ledger(layout)
    mutate(layout.vault, GENERATED)
    without_the_comparison(monkeypatch)
    with pytest.raises(Refusal, match="vault_unavailable"):
        await asyncio.to_thread(parked_now, layout)
