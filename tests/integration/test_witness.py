"""Proxy and witness as processes: what is recorded reaches file and URL, and an old copy that is put back is found."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running_system import clean_environment, command_line, free_port, wait_until

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.cosignature import CosignerKey, cosigned_by
from mycelos.ledger.events import Event
from mycelos.ledger.signed_note import parse_note
from mycelos.operator.client import OperatorClient
from mycelos.proxy.ledger.keys import read_log_keys
from mycelos.proxy.ledger.last_signed import read_last_signed
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.vault.keys import create_master_key
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.witness.log import read_note
from mycelos.proxy.witness.record_file import remembered
from mycelos.wire.witness import WitnessCondition, WitnessStatus


@dataclass
class Machine:
    """A folder with everything that a thief of this machine can write: ``own``; and what he cannot: ``elsewhere``."""

    own: Path
    elsewhere: Path

    @property
    def layout(self) -> DataLayout:
        return DataLayout(self.own / "data")

    @property
    def notes(self) -> Path:
        return self.elsewhere / "notes"

    def witnesses(self) -> tuple[WitnessStatus, ...]:
        return OperatorClient(self.layout).status().witnesses

    def conditions(self) -> set[WitnessCondition]:
        return {witness.condition for witness in self.witnesses()}

    def events(self) -> list[str]:
        with LedgerReader(self.layout.ledger) as reader:
            return [entry.event for entry in reader.newest(1000)]

    @contextmanager
    def proxy(self, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """The proxy, until it is told to stop; a block that ends finds it ended in order."""
        environment = clean_environment(
            XDG_STATE_HOME=str(self.own / "state"), MYCELOS_PROXY_TOKEN="t" * 64, **variables
        )
        reading, writing = os.pipe()
        flags = ("--data-dir", str(self.layout.root), "--listen", f"unix:{self.elsewhere}/s")
        command = [sys.executable, "-I", "-m", "mycelos.proxy", *flags, "--ready-fd", str(writing)]
        with subprocess.Popen(
            command, env=environment, pass_fds=(writing,), stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(writing)
            with os.fdopen(reading, "rb") as stream:
                stream.read()
            try:
                yield process
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(60) == 0
            finally:
                process.kill()

    def verify(self, **variables: str) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of `mycelos db audit verify`."""
        words = ("db", "audit", "verify", "--json")
        done = command_line(self.layout.root, *words, XDG_STATE_HOME=str(self.own / "state"), **variables)
        return done.returncode, json.loads(done.stdout)

    def write_settings(self, text: str) -> None:
        self.layout.operator_file.write_text(text)
        self.layout.operator_file.chmod(0o600)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "machine", tmp_path / "elsewhere")
    machine.elsewhere.mkdir()
    machine.layout.root.mkdir(parents=True, mode=0o700)
    create_master_key(machine.layout)
    return machine


@contextmanager
def witness(machine: Machine) -> Iterator[tuple[str, CosignerKey]]:
    """`mycelos witness serve` for the machine's ledger: its authority and key."""
    with LedgerReader(machine.layout.ledger) as reader:
        keys = read_log_keys(reader)
    assert keys is not None
    authority = f"127.0.0.1:{free_port()}"
    logs = [word for key in keys.keys for word in ("--log", str(key))]
    words = ["witness", "serve", "--folder", str(machine.elsewhere / "witness"), "--listen", authority, *logs]
    command = [sys.executable, "-I", "-m", "mycelos.cli.main", *words]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield authority, CosignerKey.parse(process.stdout.readline().removeprefix("witness ").strip())
        finally:
            process.kill()


def size_of(machine: Machine) -> int:
    """Entries that the ledger's newest checkpoint covers."""
    return read_note(read_last_signed(machine.layout.ledger) or b"")[1].size


def test_what_is_recorded_reaches_both_and_an_old_copy_is_found(machine: Machine, tmp_path: Path) -> None:
    with machine.proxy():
        assert machine.witnesses() == ()
    shutil.copytree(machine.own, tmp_path / "old copy", symlinks=True)
    before = size_of(machine)

    with witness(machine) as (authority, key):
        machine.write_settings(f'[witness]\nfile = "{machine.notes}"\nkey = "{key}"\n')
        variables = {"MYCELOS_WITNESS": f"http://{authority}", "MYCELOS_EGRESS_OPEN": authority}
        with machine.proxy(**variables):
            wait_until(lambda: machine.conditions() == {WitnessCondition.TAKES}, "both witnesses take")
        (kept,) = (machine.own / "state").rglob("witness.note")
        assert cosigned_by(parse_note(kept.read_bytes()), key, verifies).at
        for note in (kept.read_bytes(), remembered(machine.notes)[0]):
            assert before < read_note(note)[1].size <= size_of(machine)
        assert machine.events().count(Event.LEDGER_WITNESSED) == 2
        code, told = machine.verify(**variables)
        assert (code, {"the witness's file", f"the witness at http://{authority}/"} <= set(told["compared"])) == (
            0,
            True,
        )

        # The thief of this machine puts back all of it, remembered heads and key included.
        shutil.rmtree(machine.own)
        shutil.copytree(tmp_path / "old copy", machine.own, symlinks=True)
        machine.write_settings(f'[witness]\nkey = "{key}"\n')
        with machine.proxy(**variables):
            wait_until(lambda: machine.conditions() == {WitnessCondition.DISAGREES}, "the witness disagrees")
        assert machine.events().count(Event.LEDGER_WITNESS_DISAGREED) == 1
        code, told = machine.verify(**variables)
        assert (code, told["verdict"]) == (1, "broken")
        assert f"the witness at http://{authority}/ remembers another ledger" in told["reason"]
    code, told = machine.verify(**variables)
    assert (code, told["verdict"]) == (6, "cannot_tell")

    machine.write_settings("")
    with machine.proxy(MYCELOS_WITNESS=str(machine.notes)) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert "does not fit what" in (said := process.stderr.read())
        assert "mycelos backup adopt" in said
    code, told = machine.verify(MYCELOS_WITNESS=str(machine.notes))
    assert (code, "the witness's file" in told["reason"]) == (1, True)

    # Without a witness nobody notices.
    with machine.proxy():
        assert machine.witnesses() == ()
    assert machine.verify()[0] == 0


def test_a_witness_that_is_away_stops_nothing(machine: Machine) -> None:
    authority = f"127.0.0.1:{free_port()}"
    with machine.proxy(MYCELOS_WITNESS=f"http://{authority}", MYCELOS_EGRESS_OPEN=authority):
        wait_until(lambda: machine.conditions() == {WitnessCondition.FAILS}, "the witness fails")
    assert machine.events().count(Event.LEDGER_WITNESS_FAILED) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://metadata.goog/w"])
def test_the_guard_decides_where_a_checkpoint_goes(machine: Machine, url: str) -> None:
    with machine.proxy(MYCELOS_WITNESS=url):
        wait_until(lambda: machine.conditions() == {WitnessCondition.FAILS}, "the witness fails")
        assert "Not dialled" in machine.witnesses()[0].reason


def test_who_takes_the_file_away_is_noticed_by_the_running_proxy_by_verify_and_by_the_next_start(
    machine: Machine,
) -> None:
    variables = {"MYCELOS_WITNESS": str(machine.notes)}
    away = machine.elsewhere / "away"
    with machine.proxy(**variables):
        wait_until(lambda: machine.conditions() == {WitnessCondition.TAKES}, "the file takes")
    assert machine.verify(**variables)[0] == 0
    code, told = machine.verify()
    assert (code, f"the proxy had the witness {machine.notes}, and it is not set here" in told["reason"]) == (6, True)
    with machine.proxy(**variables):
        machine.notes.rename(away)
        OperatorClient(machine.layout).set_lockdown(enabled=True)
        wait_until(lambda: machine.conditions() == {WitnessCondition.FAILS}, "the file is missed")
    assert machine.events().count(Event.LEDGER_WITNESS_FAILED) == 1
    assert not machine.notes.exists()
    code, told = machine.verify(**variables)
    assert (code, f"the witness's file {machine.notes} is gone or empty" in told["reason"]) == (6, True)
    before = machine.layout.ledger.read_bytes()
    with machine.proxy(**variables) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert "name a new file in MYCELOS_WITNESS" in process.stderr.read()
    assert machine.layout.ledger.read_bytes() == before
    away.rename(machine.notes)
    with machine.proxy(**variables):
        wait_until(lambda: machine.conditions() == {WitnessCondition.TAKES}, "the file takes again")
    assert machine.verify(**variables)[0] == 0
