"""Create, restore and adopt are killed at each write: nothing is lost, nothing revived, and run again they finish.

The child is a process of its own that kills itself with SIGKILL right before the write with a given number. A write is
whatever the interpreter announces as one (PEP 578), each named step, and the exchange.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from backup_world import KEY, SECRET, SERVICES, World, furnish, left_in, snapshot_of
from pyrage.x25519 import Identity

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup.check import check, unpack
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import Refusal

PATIENCE = 120
SMALL = 8
"""Places that are tried where the depth is small: spread over all of them, the last ones included."""

CHILD = """
import os, signal, sys
from pathlib import Path

kill_at, what, *arguments = sys.argv[1:]
writes = 0

def write(name):
    global writes
    if writes == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
    writes += 1
    os.write(3, f"{name}\\n".encode())

CHANGING = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.symlink",
            "sqlite3.connect"}

def watch(event, args):
    if event == "open":
        path, _, flags = args
        if isinstance(path, (str, Path)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            write(f"open {os.path.basename(path)}")
    elif event in CHANGING:
        write(event)

from mycelos.cli import backup
from mycelos.cli.main import run
from mycelos.proxy.backup import check, create, reopen, restore, sealing, swap
import mycelos.gateway, sqlalchemy.dialects.sqlite
sys.addaudithook(watch)
backup._steps = lambda: lambda name: write(f"step {name}")
exchange, fsync = swap._exchange, os.fsync
swap._exchange = lambda *places: (write("exchange"), exchange(*places))
if os.environ.get("WITHOUT_EXCHANGE"):
    def two_renames(prepared, place):
        place.rename(place.with_name("between"))
        prepared.rename(place)
        place.with_name("between").rename(prepared)
    swap._exchange = two_renames
os.fsync = lambda descriptor: (write("fsync"), fsync(descriptor))[1]
raise SystemExit(run(["backup", what, *arguments]))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One installation and its backup, copied for each try."""
    folder = tmp_path_factory.mktemp("template")
    layout = DataLayout(folder / "data")
    layout.root.mkdir(mode=0o700)
    furnish(layout)
    world = World(layout, Identity.generate(), folder)
    world.create()
    world.identity_file()
    world.key_file()
    return world


class Try:
    """A copy of the template in a folder of its own."""

    def __init__(self, template, folder):
        shutil.copytree(template.folder, folder)
        self.world = World(DataLayout(folder / "data"), template.identity, folder)
        self.folder = folder
        self.variables = {}

    @property
    def layout(self):
        return self.world.layout

    def run(self, kill_at, what, *arguments):
        """The child's exit code and the writes that it has announced."""
        reading, writing = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MYCELOS_")}
        # The child writes to descriptor 3.
        with subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3>&{writing} {writing}>&-', "-", sys.executable, "-I", "-B", "-c", CHILD,
             str(kill_at), what, *arguments],
            pass_fds=(writing,), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**environment, "MYCELOS_DATA_DIR": str(self.layout.root), **self.variables},
        ) as process:  # fmt: skip
            os.close(writing)
            with os.fdopen(reading) as stream:
                announced = stream.read().splitlines()
            _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode in {0, -signal.SIGKILL}, errors.decode()
        return process.returncode, announced

    def restore(self, kill_at):
        return self.run(
            kill_at, "restore", str(self.folder / "b.age"), "--identity",
            str(self.folder / "elsewhere" / "identity.txt"), "--master-key-file",
            str(self.folder / "elsewhere" / "master.key"),
        )  # fmt: skip


def used(layout):
    """The services whose credential can be used."""
    vault = Vault.open(layout, KEY)
    assert {credential.service for credential in vault.list()} == set(SERVICES)
    found = {credential.service for credential in vault.list() if credential.parked_at is None}
    for number, service in enumerate(SERVICES):
        if service not in found:
            with pytest.raises(Refusal, match="credential_unknown"):
                vault.find(service)
            continue
        with vault.open_secret(vault.find(service)) as secret:
            assert secret.matches(f"{SECRET}-{number}".encode())
    vault.close()
    return found


def ledger_holds(layout):
    return verify_ledger(layout.ledger, {}).result.fault is None


def chosen(count):
    """The writes before which the child is killed."""
    if os.environ.get("MYCELOS_TEST_DEPTH") == "deep":
        return range(count)
    return sorted({*range(0, count, max(1, count // SMALL)), *range(max(0, count - 5), count)})


def copies_of(folder: Path, before):
    """The folders that hold the old installation as it was."""
    return [path.name for path in folder.iterdir() if path.is_dir() and snapshot_of(path) == before]


def test_a_restore_that_is_killed_at_each_write_leaves_the_old_or_the_new_and_finishes(template, tmp_path):
    trial = Try(template, tmp_path / "whole")
    code, writes = trial.restore(-1)
    assert code == 0
    steps = [name for name in writes if name.startswith(("step", "exchange"))]
    assert steps[-2:] == ["step aside", "step done"]
    assert "exchange" in steps
    for number in chosen(len(writes)):
        trial = Try(template, tmp_path / str(number))
        before = snapshot_of(trial.layout.root)
        code, _ = trial.restore(number)
        assert code == -signal.SIGKILL
        # Killed: the old installation as it was, or the new one, whole.
        where = f"killed before {number}: {writes[number]}"
        after = snapshot_of(trial.layout.root)
        if after == before:
            assert used(trial.layout) == set(SERVICES), where
        else:
            assert used(trial.layout) == set(), where
            assert copies_of(trial.folder, before), where
        assert ledger_holds(trial.layout), where
        # Opened since, so compared with what it is now.
        before = snapshot_of(trial.layout.root) if after == before else before
        code, _ = trial.restore(-1)
        assert code == 0, where
        assert used(trial.layout) == set(), where
        assert ledger_holds(trial.layout), where
        assert copies_of(trial.folder, before), where
        assert ".data.restoring" not in left_in(trial.folder), where
        shutil.rmtree(trial.folder)


def test_without_the_exchange_there_is_a_moment_without_an_installation(template, tmp_path):
    """The wall taken away: the test above would see it."""
    trial = Try(template, tmp_path / "whole")
    trial.variables = {"WITHOUT_EXCHANGE": "1"}
    _, writes = trial.restore(-1)
    between = writes.index("step exchange") + 2
    assert writes[between - 1 : between + 2] == ["os.rename"] * 3
    trial = Try(template, tmp_path / "killed")
    trial.variables = {"WITHOUT_EXCHANGE": "1"}
    assert trial.restore(between)[0] == -signal.SIGKILL
    assert not trial.layout.root.exists()


def test_an_adoption_that_is_killed_at_each_write_loses_nothing_and_finishes(template, tmp_path):
    trial = Try(template, tmp_path / "whole")
    code, writes = trial.run(-1, "adopt")
    assert code == 0
    for number in chosen(len(writes)):
        trial = Try(template, tmp_path / str(number))
        code, _ = trial.run(number, "adopt")
        assert code == -signal.SIGKILL
        where = f"killed before {number}: {writes[number]}"
        # All of them or none: parking is one transaction.
        assert used(trial.layout) in (set(), set(SERVICES)), where
        assert ledger_holds(trial.layout), where
        code, _ = trial.run(-1, "adopt")
        assert code == 0, where
        assert used(trial.layout) == set(), where
        assert ledger_holds(trial.layout), where
        shutil.rmtree(trial.folder)


def test_a_backup_that_is_killed_at_each_write_is_whole_and_on_record_or_not_there(template, tmp_path):
    recipient = str(template.identity.to_public())

    def create(trial, kill_at):
        target = trial.folder / "backups" / "new.age"
        target.parent.mkdir(exist_ok=True)
        return target, trial.run(kill_at, "create", "--recipient", recipient, "--output", str(target))

    trial = Try(template, tmp_path / "whole")
    _, (code, writes) = create(trial, -1)
    assert code == 0
    for number in chosen(len(writes)):
        trial = Try(template, tmp_path / str(number))
        target, (code, _) = create(trial, number)
        assert code == -signal.SIGKILL
        where = f"killed before {number}: {writes[number]}"
        if target.exists():
            with LedgerReader(trial.layout.ledger) as reader:
                assert reader.newest(1)[0].event == "backup.created", where
            target.unlink()
        assert used(trial.layout) == set(SERVICES), where
        target, (code, _) = create(trial, -1)
        assert code == 0, where
        assert left_in(target.parent) == ["new.age"], where
        place = DataLayout(trial.folder / "looked-through")
        place.root.mkdir(mode=0o700)
        manifest = unpack(target, [template.identity], place, lambda *_: None)
        assert check(place, manifest, KEY, lambda *_: None).credentials == SERVICES, where
        shutil.rmtree(trial.folder)
