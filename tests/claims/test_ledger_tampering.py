"""Claim L2: somebody who may write everything in `data/proxy` does what `ledger_matrix` lists, on real files.

Each cell of that table is judged by the command that a person uses, and by the start of the proxy. What no evidence
covers is said to be unknown, never to hold.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_file_attacks import ATTACKS
from ledger_files import STATE, World, build, start
from ledger_matrix import CASES, CODES, EVIDENCE, page
from witnessed_log import ServedWitness, serving

from mycelos.cli.audit import app
from mycelos.proxy.ledger.heads import outside_of, remember
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.witness.record_file import append

FILES = {"gateway": "gateway_head", "command line": "command_line_head"}
INSIDE = ("gateway", "command line", "proxy, outside")
"""Who remembers by itself in an installation that runs."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> World:
    return asyncio.run(build(tmp_path_factory.mktemp("ledger")))


@pytest.fixture(scope="module")
def witness(sound, tmp_path_factory) -> Iterator[ServedWitness]:
    """A witness's server on loopback, in a thread of its own."""
    ready: Future[tuple[ServedWitness, asyncio.Event, asyncio.AbstractEventLoop]] = Future()

    async def serve() -> None:
        async with serving(tmp_path_factory.mktemp("witness"), SimpleNamespace(key=sound.key)) as served:
            stop = asyncio.Event()
            ready.set_result((served, stop, asyncio.get_running_loop()))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    served, stop, loop = ready.result(60)
    yield served
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)


@dataclass(frozen=True)
class Judgement:
    """What was said: exit code, entry, what, expected, found."""

    code: int
    seq: int | None
    what: str
    expected: str
    found: str


class Judge:
    """Asks, with one kind of evidence and no other."""

    def __init__(self, world: World, folder: Path, sound: World, witness: ServedWitness, capsys: Any, patch: Any):
        self.world, self.folder, self.sound, self.witness = world, folder, sound, witness
        self._capsys, self._patch = capsys, patch
        folder.mkdir()
        patch.setenv("MYCELOS_DATA_DIR", str(world.layout.root))
        patch.setenv(STATE, str(folder))

    def remember(self, *keepers: str) -> None:
        """Let these keepers remember the checkpoint, and nobody else anything."""
        layout = self.world.layout
        environ = {STATE: str(self.folder)}
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        # Named by what was there before the attack.
        outside = outside_of(layout, environ, installation_of(self.sound.layout.vault))
        paths = {"gateway": layout.gateway_head, "command line": layout.command_line_head}
        if outside is not None:
            paths["proxy, outside"] = outside.proxy
        for keeper, path in paths.items():
            path.unlink(missing_ok=True)
            if keeper in keepers:
                remember(path, self.world.remembered)

    def ask(self, evidence: str) -> Judgement:
        self.remember(evidence)
        arguments = ["verify", "--json"]
        if evidence == "--checkpoint":
            note = self.folder / "kept.note"
            note.write_text(self.world.remembered)
            arguments += ["--checkpoint", str(note)]
        elif evidence == "--key":
            arguments += ["--key", str(self.world.key)]
        elif evidence == "witness file":
            append(self.folder / "witness.notes", self.world.remembered)
            self._patch.setenv("MYCELOS_WITNESS", str(self.folder / "witness.notes"))
        elif evidence == "witness URL":
            self.witness.store.keep(self.world.key.name, self.world.remembered.encode())
            self._patch.setenv("MYCELOS_WITNESS", str(self.witness.url))
            self._patch.setenv("MYCELOS_EGRESS_OPEN", f"127.0.0.1:{self.witness.port}")
            self._set_key_of_witness(self.witness.vkey)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        self._patch.delenv("MYCELOS_WITNESS", raising=False)
        self.world.layout.operator_file.unlink(missing_ok=True)
        printed = self._capsys.readouterr()
        if not printed.out:
            return Judgement(int(ended.value.code or 0), None, printed.err, "", "")
        told = json.loads(printed.out)
        fault = told["fault"] or {"seq": None, "what": told["reason"], "expected": "", "found": ""}
        return Judgement(int(ended.value.code or 0), **fault)

    def start(self, *keepers: str) -> str:
        """What the start says on a copy: it may write."""
        self.remember(*keepers)
        copy = self.world.copy(self.folder.with_name("started"))
        try:
            return start(copy.layout, {STATE: str(self.folder)})
        finally:
            shutil.rmtree(copy.layout.root)

    def _set_key_of_witness(self, vkey: str) -> None:
        path = self.world.layout.operator_file
        path.write_text(f'[witness]\nkey = "{vkey}"\n')
        path.chmod(0o600)


@pytest.fixture
def judge(sound, witness, tmp_path, capsys, monkeypatch) -> Judge:
    return Judge(sound.copy(tmp_path / "data"), tmp_path / "state", sound, witness, capsys, monkeypatch)


def test_the_table_names_each_attack_once():
    assert [case.name for case in CASES] == list(dict.fromkeys(case.name for case in CASES))
    assert {case.name for case in CASES} == set(ATTACKS)
    # Nothing that is only unknown is ever said to hold.
    assert {case.verdicts[0] for case in CASES} == {"B", "C"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_attack_is_detected_and_located_as_the_table_says(judge, case):
    ATTACKS[case.name](judge.world)
    verdicts = {}
    for evidence in EVIDENCE:
        judgement = judge.ask(evidence)
        verdicts[evidence] = judgement.code
        if case.verdict(evidence) != "B" or judgement.code != 1:
            continue
        seq, what = case.place(evidence)
        if judgement.seq is None:
            # Of a ledger that is not there no entry can be named.
            assert "there is no ledger" in judgement.what
        elif evidence == "witness URL" and case.verdict("nothing") != "B":
            # It knows a size, and names no entry: what is named is where the log ends.
            assert "remembers another ledger" in judgement.what
            assert "entries" in judgement.found
        else:
            assert (judgement.seq, what in judgement.what) == (seq, True), (evidence, judgement)
            assert judgement.expected != judgement.found
            assert judgement.expected
            assert judgement.found
    assert verdicts == {evidence: CODES[case.verdict(evidence)] for evidence in EVIDENCE}
    started = [judge.start(), judge.start(*INSIDE)]
    assert ["R" if said else "S" for said in started] == list(case.starts), started


def test_the_page_is_the_table(repository):
    """`pytest -s` prints it."""
    print(page())
    assert (repository / "docs" / "security" / "ledger-attacks.md").read_text() == page()
