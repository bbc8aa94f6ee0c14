"""Claim L2: `mycelos db audit rebuild` makes no attack of `ledger_matrix` good.

Each is done on real files, and then the index is taken away. What verification finds by the entries is refused. What a
start refuses for another reason than index and schema, it still refuses behind the rebuild.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest
from ledger_file_attacks import ATTACKS
from ledger_files import STATE, World, build, start
from ledger_matrix import CASES

from mycelos.cli.audit import app
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.verification import verify_ledger

HIDES_AN_OLD_VAULT = "leave a change of the vault out of the index, and put the old vault back"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> World:
    return asyncio.run(build(tmp_path_factory.mktemp("ledger")))


def told_of(world, remembered):
    """The verdict, and whether it is of index or schema alone; None where no ledger is there."""
    evidence = {"the test": RememberedNote(world.remembered.encode())} if remembered else {}
    with suppress(LedgerError):
        found = verify_ledger(world.layout.ledger, evidence)
        return found.result.verdict, found.is_derived
    return None


def files_of(layout):
    return {path.name: path.read_bytes() for path in layout.proxy.glob("ledger.s*") if not path.name.endswith("-shm")}


@pytest.mark.parametrize("remembered", [False, True], ids=["nothing remembered", "remembered"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_attack_is_made_good(sound, tmp_path, monkeypatch, case, remembered):
    world, environ = sound.copy(tmp_path / "data"), {STATE: str(tmp_path / "state")}
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(world.layout.root))
    monkeypatch.setenv(STATE, environ[STATE])
    for path in (world.layout.gateway_head, world.layout.command_line_head):
        path.unlink(missing_ok=True)
    ATTACKS[case.name](world)
    if remembered:
        remember(world.layout.command_line_head, world.remembered)
    told = told_of(world, remembered)
    if os.path.lexists(world.layout.ledger):
        with closing(sqlite3.connect(world.layout.ledger)) as connection:
            connection.execute("DROP INDEX audit_events_rare")
    before = files_of(world.layout)
    with pytest.raises(SystemExit) as ended:
        app(["rebuild"])
    if told is None or told == (Verdict.BROKEN, False):
        assert ended.value.code == 1
        after = files_of(world.layout)
        after = {name: data for name, data in after.items() if data or name in before}
        assert after == before
        return
    assert ended.value.code == 0
    verdict, is_derived = told
    if case.name == HIDES_AN_OLD_VAULT:
        # A start that refuses: the index is right again, and says what it hid.
        assert "set back" in start(world.layout, environ)
        return
    assert told_of(world, remembered)[0] == (
        verdict if not is_derived else Verdict.HOLDS if remembered else Verdict.CANNOT_TELL
    )
    expected = "S" if is_derived else case.starts[remembered]
    shutil.rmtree(environ[STATE], ignore_errors=True)
    said = start(world.layout, environ)
    assert ("R" if said else "S") == expected, said
