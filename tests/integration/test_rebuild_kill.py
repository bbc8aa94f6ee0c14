"""`mycelos db audit rebuild` is killed at each write: the old or the new ledger is in place, and run again it finishes.

The command runs in a process of its own, forked from one that has no thread, and kills itself with SIGKILL right before
the write with a given number. A write is whatever the interpreter announces as one (PEP 578), and each sync.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from ledger_files import STATE, World, build, start

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.proxy.backup.present import record_in
from mycelos.proxy.ledger.bare_reader import BareReader
from mycelos.proxy.ledger.rebuilding import draft_of

PROGRAM = """
import os, signal, sys

from mycelos.cli.audit_rebuild import rebuild_database
from mycelos.cli.main import run
import mycelos.proxy.main

CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "sqlite3.connect"}
left = None

def write():
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if left is not None:
        left -= 1

def watch(event, args):
    if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        write()
    elif event in CHANGING:
        write()

sys.addaudithook(watch)
fsync = os.fsync
os.fsync = lambda descriptor: (write(), fsync(descriptor))[1]
for line in sys.stdin:
    folder, number = line.rsplit(None, 1)
    child = os.fork()
    if child == 0:
        os.environ["MYCELOS_DATA_DIR"] = folder
        os.dup2(2, 1)
        left = int(number)
        os._exit(run(["db", "audit", "rebuild"]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLED = -9


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> World:
    return asyncio.run(build(tmp_path_factory.mktemp("template")))


@pytest.fixture
def rebuilding(tmp_path):
    """Runs the command in a data folder up to the write with a number; its exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MYCELOS_")}
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            text=True, env={**environment, STATE: str(tmp_path / "state")},
        ) as process,
    ):  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None

        def call(layout, number):
            print(layout.root, number, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield call


def drop_the_index(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX audit_events_rare")


def leave_a_log(path):
    """As a kill does: an entry, and that the index is gone, stand in the write-ahead log alone."""
    kept = path.with_name("kept")
    with closing(sqlite3.connect(path)) as holding:
        # Who is not the last one to close it leaves the log where it is.
        holding.execute("SELECT count(*) FROM audit_events").fetchone()
        record_in(path, Event.BACKUP_CREATED, {"size": 7})
        drop_the_index(path)
        kept.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(path.name + suffix), kept)
    for file in kept.iterdir():
        file.replace(path.with_name(file.name))
    kept.rmdir()
    assert path.with_name(path.name + "-wal").stat().st_size


@pytest.mark.parametrize("damage", [drop_the_index, leave_a_log])
def test_killed_at_each_write_the_old_one_or_the_new_one_is_in_place(template, rebuilding, tmp_path, damage):
    damaged = template.copy(tmp_path / "damaged").layout
    damage(damaged.ledger)
    environ = {STATE: str(tmp_path / "state")}
    with BareReader(damaged.ledger) as reader:
        before = list(reader.rows())
    number, code, ways = 0, KILLED, set()
    while code == KILLED:
        layout = DataLayout(tmp_path / "try")
        shutil.copytree(damaged.root, layout.root)
        code = rebuilding(layout, number)
        assert code in {0, KILLED}, (tmp_path / "said").read_text()
        with BareReader(layout.ledger) as reader:
            found, is_old = list(reader.rows()), bool(reader.derived_faults())
        assert (found[: len(before)], len(found) == len(before)) == (before, is_old), number
        ways.add((code, is_old))
        assert rebuilding(layout, 1 << 30) == 0
        assert not draft_of(layout.ledger).parent.exists()
        kept = sorted(layout.proxy.glob("ledger.before-rebuild-*"))
        assert kept
        for folder in kept:
            with BareReader(folder / layout.ledger.name) as reader:
                assert (list(reader.rows()), bool(reader.derived_faults())) == (before, True)
        with BareReader(layout.ledger) as reader:
            assert [entry.event for entry in reader.newest(1)] == ["ledger.rebuilt"]
            assert len(list(reader.rows())) == len(before) + 1
        assert start(layout, environ) == "", number
        shutil.rmtree(layout.root)
        shutil.rmtree(environ[STATE], ignore_errors=True)
        number += 1
    assert ways == {(KILLED, True), (KILLED, False), (0, False)}
    assert number > 20
