"""Claim L2, of an export: who gives one that he made up is never told that it holds, and a sound one is never broken.

The installation that looks at it is sound; the export is written from what an attack of `ledger_matrix` has left.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from audit_ledger import write_export
from ledger_file_attacks import ATTACKS
from ledger_files import STATE, World, build

from mycelos.cli.audit import app
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.reader import LedgerReader

UNDER_ANOTHER_NAME = ("rewrite everything with another key", "put a new vault and its own ledger there")
UNDER_ITS_NAME = "the same, under the name of the log"
MADE_UP = (*UNDER_ANOTHER_NAME, UNDER_ITS_NAME, "rewrite everything as a log that was never signed")


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> World:
    return asyncio.run(build(tmp_path_factory.mktemp("ledger")))


@dataclass
class Reader:
    """Who is given an export: with an installation that remembers, or with an empty folder."""

    home: World
    folder: Path
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def ask(self, export: Path, *given: str, is_empty: bool = False) -> tuple[int, str]:
        self.patch.setenv(STATE, str(self.folder / "state"))
        root = self.folder / "empty" if is_empty else self.home.layout.root
        root.mkdir(exist_ok=True)
        self.patch.setenv("MYCELOS_DATA_DIR", str(root))
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(["verify", "--json", "--export", str(export), *given])
        return int(ended.value.code or 0), json.loads(self.capsys.readouterr().out)["reason"]

    def note(self, text: str | bytes) -> str:
        path = self.folder / "given.note"
        path.write_text(text if isinstance(text, str) else text.decode())
        return str(path)


@pytest.fixture
def reader(sound, tmp_path, capsys, monkeypatch) -> Reader:
    home = sound.copy(tmp_path / "data")
    home.layout.gateway_head.unlink(missing_ok=True)
    remember(home.layout.command_line_head, home.remembered)
    return Reader(home, tmp_path, capsys, monkeypatch)


@pytest.fixture
def later(sound) -> str:
    """The vkey of a key that came into use after every export."""
    return str(VerifierKey(sound.key.name, bytes(31) + b"\x01"))


def newest_of(ledger: Path) -> str:
    try:
        with LedgerReader(ledger) as found:
            return (found.newest_checkpoint() or (0, ""))[1]
    except LedgerError:
        return ""


@pytest.mark.parametrize("attack", MADE_UP)
def test_an_export_that_was_made_up_is_never_said_to_hold_by_key_or_by_what_is_remembered(
    sound, reader, later, tmp_path, attack
):
    world = sound.copy(tmp_path / "attacked")
    ATTACKS[attack](world)
    export = write_export(world.layout.ledger, tmp_path / "made-up.jsonl")
    own = ["--key", str(sound.key)]
    for is_empty in (False, True):
        for given in ([], own, ["--key", later], ["--checkpoint", reader.note(sound.remembered)]):
            assert reader.ask(export, *given, is_empty=is_empty)[0] in {1, 6}, given
    # The log's own key finds it where it is not under the log's name; a checkpoint of the log always does.
    assert reader.ask(export, "--checkpoint", reader.note(sound.remembered), is_empty=True)[0] == 1
    assert reader.ask(export, *own, is_empty=True)[0] == (6 if attack == UNDER_ITS_NAME else 1)
    # Under the name of the log it is compared with what the installation remembers; under another it is not of it.
    code, told = reader.ask(export)
    is_of_another = attack in UNDER_ANOTHER_NAME
    assert (code, "not of this installation's log" in told) == (6 if is_of_another else 1, is_of_another)


@pytest.mark.parametrize("attack", UNDER_ANOTHER_NAME)
@pytest.mark.parametrize("is_wall_there", [True, False])
def test_a_gateway_that_remembers_the_made_up_log_does_not_bear_it_out(
    sound, reader, tmp_path, monkeypatch, attack, is_wall_there
):
    world = sound.copy(tmp_path / "attacked")
    ATTACKS[attack](world)
    export = write_export(world.layout.ledger, tmp_path / "made-up.jsonl")
    remember(reader.home.layout.gateway_head, newest_of(world.layout.ledger))
    if not is_wall_there:
        monkeypatch.setattr("mycelos.ledger.remembered.Memories._counts", lambda *_, **__: True)
    assert reader.ask(export)[0] == (6 if is_wall_there else 0)


@pytest.mark.parametrize("is_wall_there", [True, False])
def test_who_has_the_key_before_cannot_go_on_from_what_was_remembered(
    sound, reader, later, tmp_path, monkeypatch, is_wall_there
):
    world = sound.copy(tmp_path / "attacked")
    ATTACKS["append an entry with the key"](world)
    export = write_export(world.layout.ledger, tmp_path / "went-on.jsonl")
    if not is_wall_there:
        monkeypatch.setattr("mycelos.ledger.remembered.Memories._counts", lambda *_, **__: True)
    given = ["--key", later, "--checkpoint", reader.note(sound.remembered)]
    assert reader.ask(export, *given, is_empty=True)[0] == (6 if is_wall_there else 0)


def test_a_sound_export_is_not_broken_by_a_later_key_nor_by_another_installation(sound, reader, later, tmp_path):
    export = write_export(sound.layout.ledger, tmp_path / "sound.jsonl")
    whole = ["--checkpoint", reader.note(newest_of(sound.layout.ledger))]
    assert reader.ask(export, "--key", later, is_empty=True)[0] == 6
    assert reader.ask(export, "--key", later, *whole, is_empty=True)[0] == 0
    other = sound.copy(tmp_path / "other")
    ATTACKS[UNDER_ANOTHER_NAME[0]](other)
    remember(reader.home.layout.command_line_head, newest_of(other.layout.ledger))
    assert reader.ask(export)[0] == 6
    assert reader.ask(export, "--key", str(sound.key))[0] == 6
    assert reader.ask(export, "--key", str(sound.key), *whole)[0] == 0
