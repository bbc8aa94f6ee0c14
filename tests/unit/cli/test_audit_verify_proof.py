from __future__ import annotations

import errno
import json
import os
import threading

import pytest
from audit_ledger import call, write_starts
from ledger_keys import change_from, ledger_keys

from mycelos.cli import audit_verify_proof
from mycelos.ledger.events import Event
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.keys import origin_of
from mycelos.proxy.ledger.recorder import Recorder

pytestmark = pytest.mark.anyio

OURS = origin_of(ledger_keys().public_key)


def vkey(number):
    return str(VerifierKey(OURS, ledger_keys(number).public_key))


@pytest.fixture
async def bundle(layout, data_folder, monkeypatch, capsys):
    """What `proof 4 --json` prints of a log of ten entries; what verifies it has no ledger to look at."""
    await write_starts(layout, *(f"\x1b[31m{number}" for number in range(9)))
    assert call("proof", 4, "--json") == 0
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root / "elsewhere"))
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def file(tmp_path):
    def write(what):
        path = tmp_path / "proof.json"
        path.write_text(what if isinstance(what, str) else json.dumps(what))
        return path

    return write


async def test_an_entry_is_told_to_be_in_the_log_of_a_key_that_is_known(bundle, file, capsys):
    assert call("verify", "--proof", file(bundle), "--key", vkey(0)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"holds: entry 4 is one of the 10 of the log {OURS}\n")
    assert "  event      proxy.started\n" in printed
    assert "\x1b" not in printed
    assert call("verify", "--proof", file(bundle), "--key", vkey(0), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["size"], told["origin"], told["key"]) == ("holds", 10, OURS, vkey(0))
    assert told["entry"] == bundle["entry"]


async def test_without_a_key_from_elsewhere_nobody_says_whose_log_it_is(bundle, file, capsys):
    assert call("verify", "--proof", file(bundle)) == 6
    assert "the file alone says whose that is; --key KEY" in capsys.readouterr().out


async def test_a_log_of_somebody_else_is_not_the_one_of_the_key(bundle, file, capsys):
    assert call("verify", "--proof", file(bundle), "--key", vkey(1)) == 6
    assert f"signed by {vkey(0)} and not by --key" in capsys.readouterr().out


async def test_after_a_change_of_the_key_the_new_one_bears_old_entries_out(bundle, file, layout, monkeypatch, capsys):
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    changed = change_from(ledger_keys(), ledger_keys(1))
    intent = await recorder.intent(Event.KEY_ROTATED, subject="ledger-signing", details=changed)
    recorder.use(ledger_keys(1))
    await recorder.outcome(intent, outcome="ok")
    await recorder.close()
    assert call("proof", 4, "--json") == 0
    again = file(capsys.readouterr().out)
    assert [call("verify", "--proof", again, "--key", vkey(number)) for number in (0, 1)] == [6, 0]


def _other_text(bundle):
    bundle["entry"]["reason"] = "nothing happened"


def _other_place(bundle):
    bundle["entry"]["seq"] = 5


def _other_details(bundle):
    bundle["entry"]["details"] = {"port": 0.5}


def _other_hash(bundle):
    bundle["entry"]["leaf_hash"] = "00" * 32


def _other_type(bundle):
    bundle["entry"]["epoch"] = "1"


def _no_column(bundle):
    del bundle["entry"]["tenant"]


def _other_index(bundle):
    bundle["proof"] = bundle["proof"].replace("index 4", "index 5")


def _other_path(bundle):
    lines = bundle["proof"].split("\n")
    lines[2], lines[3] = lines[3], lines[2]
    bundle["proof"] = "\n".join(lines)


def _no_proof(bundle):
    bundle["proof"] = "c2sp.org/tlog-proof@v1"


def _other_size(bundle):
    bundle["proof"] = bundle["proof"].replace("\n10\n", "\n11\n")


def _other_key(bundle):
    bundle["key"] = vkey(1)


def _no_key(bundle):
    bundle["key"] = "key"


@pytest.mark.parametrize(
    "change",
    [
        _other_text, _other_place, _other_details, _other_hash, _other_type, _no_column, _other_index, _other_path,
        _no_proof, _other_size, _other_key, _no_key,
    ],
)  # fmt: skip
@pytest.mark.parametrize("with_key", [True, False])
async def test_whatever_was_changed_shows(bundle, file, capsys, change, with_key):
    change(bundle)
    arguments = ["--key", vkey(0)] if with_key else []
    assert call("verify", "--proof", file(bundle), *arguments) == 1
    assert capsys.readouterr().out.startswith("does not hold: ")
    assert call("verify", "--proof", file(bundle), *arguments, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["entry"]) == ("broken", None)


async def test_what_is_no_entry_with_its_proof_is_wrong_usage(bundle, file, capsys):
    twice = json.dumps(bundle).replace('"entry":', '"entry": {}, "entry":', 1)
    wrong = [bundle["proof"], "[]", "{}", json.dumps(bundle | {"more": 1}), json.dumps(bundle | {"entry": []}), twice]
    for text in wrong:
        assert call("verify", "--proof", file(text), "--key", vkey(0)) == 2
        assert "mycelos db audit proof 1042 --json writes one" in capsys.readouterr().err
    assert call("verify", "--proof", file(bundle), "--key", "key") == 2
    assert "--key: " in capsys.readouterr().err
    for option in ("--export", "--checkpoint"):
        assert call("verify", "--proof", file(bundle), option, "x") == 2
        assert "--proof stands without" in capsys.readouterr().err


async def test_a_file_that_cannot_be_read_is_not_said_to_hold_or_not(file, tmp_path, capsys):
    for path in (tmp_path / "none", tmp_path, file(" " * (1024 * 1024 + 1))):
        assert call("verify", "--proof", path, "--key", vkey(0)) == 6
        assert f"cannot tell: {path} cannot be read: " in capsys.readouterr().err


async def test_a_pipe_is_waited_for(bundle, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(bundle),))
    writer.start()
    assert call("verify", "--proof", pipe, "--key", vkey(0)) == 0
    writer.join()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
async def test_a_result_that_cannot_be_printed_speaks_neither_for_nor_against_the_file(
    bundle, file, capsys, monkeypatch, number
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(audit_verify_proof, "_report", refuse)
    monkeypatch.setattr(audit_verify_proof, "mute_stdout", lambda: None)
    assert call("verify", "--proof", file(bundle), "--key", vkey(0)) == 6
    assert "cannot tell: standard output cannot be written" in capsys.readouterr().err
    bundle["entry"]["subject"] = "another"
    assert call("verify", "--proof", file(bundle), "--key", vkey(0)) == 1
