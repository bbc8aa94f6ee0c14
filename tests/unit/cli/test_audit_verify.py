from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import stat
from functools import partial

import msgspec
import pytest
from audit_ledger import call, changed, tamper, write_export
from ledger_keys import ledger_keys, note_of

from mycelos.cli import audit_verify
from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.database import LedgerUnavailableError
from mycelos.proxy.ledger.heads import outside_of, remember
from mycelos.proxy.ledger.keys import origin_of
from mycelos.proxy.ledger.last_signed import file_of
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.store import Vault
from mycelos.proxy.witness.last_set import LastSet, LastSetKeeper
from mycelos.proxy.witness.record_file import append

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("data_folder")]


@pytest.fixture
async def ledger(ledger):
    """With the vault that names the installation."""
    Vault.open(ledger, bytes(32)).close()
    return ledger


async def test_the_first_verification_cannot_tell_and_the_next_one_holds(ledger, capsys):
    assert call("verify") == 6
    assert "cannot tell" in capsys.readouterr().out
    assert call("verify") == 0
    assert capsys.readouterr().out.startswith("holds")


async def test_an_edited_entry_is_located_and_the_head_is_not_remembered(ledger, capsys):
    changed(ledger, "UPDATE audit_events SET run = 'x' WHERE seq = 2")
    assert call("verify", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["verdict"], result["fault"]["seq"]) == ("broken", 2)
    assert not ledger.command_line_head.exists()


async def test_a_guard_that_was_taken_away_is_reported(ledger, capsys):
    tamper(ledger, "DROP TRIGGER audit_events_no_delete")
    assert call("verify") == 1
    assert "audit_events_no_delete" in capsys.readouterr().out


async def test_a_cut_tail_is_located(ledger, capsys):
    call("verify")
    changed(ledger, "DELETE FROM audit_events WHERE seq >= 3")
    capsys.readouterr()
    assert call("verify") == 1
    text = capsys.readouterr().out
    assert "entries that were signed are missing" in text
    assert "entry     3" in text


async def test_a_cut_tail_without_its_checkpoint_is_located_by_what_is_remembered(ledger, capsys):
    call("verify")
    note = msgspec.json.decode(ledger.command_line_head.read_bytes())["note"]
    changed(ledger, "DELETE FROM audit_events WHERE seq >= 3", "DELETE FROM checkpoints")
    file_of(ledger.ledger).write_bytes(bytes(512))
    (ledger.root / "kept").write_text(note)
    ledger.command_line_head.unlink()
    shutil.rmtree(os.environ["XDG_STATE_HOME"])
    capsys.readouterr()
    assert call("verify") == 1
    assert "an entry that no checkpoint covers" in capsys.readouterr().out
    assert call("verify", "--checkpoint", str(ledger.root / "kept")) == 1
    assert "the checkpoint that was given remembers entry 4" in capsys.readouterr().out


async def test_a_ledger_that_is_gone_is_broken_where_a_head_is_remembered(ledger, capsys):
    call("verify")
    for path in ledger.proxy.iterdir():
        path.unlink()
    assert call("verify") == 1
    assert "the log is empty" in capsys.readouterr().out


async def test_where_there_never_was_a_ledger_nothing_is_said_to_hold(layout, capsys):
    assert call("verify") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "mycelos serve" in printed.err
    assert not layout.command_line_head.exists()


async def test_the_gateway_s_head_alone_is_enough_to_hold(ledger, capsys):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    remember(ledger.gateway_head, recorder.checkpoint)
    await recorder.close()
    assert call("verify") == 0


@pytest.mark.parametrize("content", [b"{", b'{"note":"\xff"}', b"[" * 4096])
async def test_a_remembered_head_that_cannot_be_read_is_missing_evidence(ledger, capsys, content):
    call("verify")
    ledger.gateway.mkdir(parents=True)
    ledger.gateway_head.write_bytes(content)
    capsys.readouterr()
    assert call("verify") == 6
    assert "the gateway" in capsys.readouterr().out


async def test_a_running_ledger_is_verified(layout):
    Vault.open(layout, bytes(32)).close()
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    assert call("verify") == 6
    await recorder.fact(Event.PROXY_STARTED)
    assert call("verify") == 0
    await recorder.close()


async def test_an_export_verifies_offline(ledger, tmp_path, capsys):
    target = tmp_path / "export.jsonl"
    assert call("verify") == 6
    # Beside a stopped system it records itself, on a loop of its own.
    assert await asyncio.to_thread(call, "export", "--output", str(target)) == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert call("verify", "--export", str(target)) == 0
    lines = target.read_bytes().splitlines(keepends=True)
    target.write_bytes(b"".join(lines[:2] + lines[3:]))
    capsys.readouterr()
    assert call("verify", "--export", str(target)) == 1
    assert "entry     2" in capsys.readouterr().out


async def test_a_head_that_cannot_be_written_is_no_fault_of_the_ledger_and_it_cannot_be_told(
    ledger, capsys, monkeypatch
):
    assert call("verify") == 6
    assert "remembered now" in capsys.readouterr().out
    assert call("verify") == 0

    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(audit_verify, "remember", full)
    capsys.readouterr()
    assert call("verify") == 6
    printed = capsys.readouterr()
    assert "command-line.json cannot be written: No space left on device" in printed.err
    assert "command-line.json cannot be written" in printed.out
    assert "remembered now" not in printed.out


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
async def test_a_result_that_cannot_be_printed_is_not_said_to_hold_nor_to_be_broken(
    ledger, capsys, monkeypatch, number
):
    assert call("verify") == 6

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(audit_verify, "report", refuse)
    monkeypatch.setattr(audit_verify, "mute_stdout", lambda: None)
    capsys.readouterr()
    assert call("verify") == 6
    assert "cannot tell: standard output cannot be written" in capsys.readouterr().err
    changed(ledger, "UPDATE audit_events SET run = 'x' WHERE seq = 2")
    assert call("verify") == 1


async def test_a_ledger_that_cannot_be_read_now_is_not_said_to_be_broken(ledger, capsys, monkeypatch):
    def refuse(*_, **__):
        message = "it is in use"
        raise LedgerUnavailableError(message)

    monkeypatch.setattr(audit_verify, "verify_ledger", refuse)
    assert call("verify") == 6
    assert "cannot tell: it is in use" in capsys.readouterr().err


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize(
    "name", ["ledger.sqlite", "ledger.signed", "ledger.sqlite-journal", "ledger.sqlite-wal", "ledger.sqlite-shm"]
)
async def test_what_lies_in_the_place_of_a_file_of_the_ledger_is_named_and_not_waited_for(ledger, capsys, name, make):
    (ledger.proxy / name).unlink(missing_ok=True)
    make(ledger.proxy / name)
    for is_remembered in (False, True):
        if is_remembered:
            remember(ledger.command_line_head, note_of(2))
        assert call("verify") == 1
        told = capsys.readouterr().err
        assert str(ledger.proxy / name) in told
        assert "not a regular file" in told
        assert "there is no ledger" not in told


async def test_without_the_vault_those_who_remember_outside_are_missing_and_it_is_not_said_to_hold(
    ledger, capsys, tmp_path
):
    shutil.copytree(ledger.root, tmp_path / "copy")
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    remember(tmp_path / "kept.json", recorder.checkpoint)
    old = recorder.checkpoint
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call("verify") == 6
    shutil.rmtree(ledger.root)
    shutil.copytree(tmp_path / "copy", ledger.root)
    remember(ledger.command_line_head, old)
    assert call("verify") == 1
    vault = ledger.vault.read_bytes()
    (tmp_path / "kept.note").write_text(old)
    for content in (None, b"garbage", "FIFO"):
        for path in ledger.proxy.glob("vault.sqlite*"):
            path.unlink()
        if content == "FIFO":
            ledger.vault.write_bytes(vault)
            os.mkfifo(ledger.vault.with_name("vault.sqlite-journal"))
        elif content is not None:
            ledger.vault.write_bytes(content)
        for given in ([], ["--checkpoint", str(tmp_path / "kept.note")]):
            capsys.readouterr()
            assert call("verify", *given) == 6
            assert str(ledger.vault) in capsys.readouterr().out


async def exported(target):
    """What is beside a stopped system, written out: it records itself, on a loop of its own."""
    assert await asyncio.to_thread(call, "export", "--output", str(target)) == 0
    return target


async def test_an_export_may_be_older_than_what_is_remembered_and_not_than_a_checkpoint_that_is_given(
    ledger, capsys, tmp_path
):
    export = await exported(tmp_path / "export.jsonl")
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    older = recorder.checkpoint
    await recorder.fact(Event.PROXY_STARTED)
    newer, key = recorder.checkpoint, str(recorder.key)
    await recorder.close()
    for name, note in ("older", older), ("newer", newer):
        (tmp_path / name).write_text(note)
    assert call("verify") == 6
    capsys.readouterr()
    assert call("verify", "--export", str(export)) == 6
    printed = capsys.readouterr()
    assert "older than what the command line and the command line, outside the data folder remembered" in printed.out
    assert "remembered now" not in printed.out
    # A key says whose it is and not whether there was more; an older checkpoint that was kept bears it out.
    assert call("verify", "--export", str(export), "--key", key) == 6
    assert call("verify", "--export", str(export), "--checkpoint", str(tmp_path / "older")) == 0
    lines = export.read_bytes().splitlines(keepends=True)
    assert call("verify", "--export", str(export), "--checkpoint", str(tmp_path / "newer")) == 1
    assert "the checkpoint that was given remembers entry" in capsys.readouterr().out
    # The live ledger itself is bound by what is remembered.
    export.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert call("verify", "--export", str(export)) == 1


async def test_the_page_s_own_memory_does_not_bind_an_export(ledger, tmp_path, capsys):
    export = await exported(tmp_path / "export.jsonl")
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    remember(ledger.gateway_head, recorder.checkpoint)
    await recorder.close()
    assert call("verify", "--export", str(export)) == 6
    assert "older than what the gateway remembered" in capsys.readouterr().out


async def test_an_export_may_be_older_than_the_key_that_is_given_and_the_ledger_may_not(ledger, capsys, tmp_path):
    export = await exported(tmp_path / "export.jsonl")
    capsys.readouterr()
    assert call("checkpoint") == 0
    (tmp_path / "whole.note").write_text(capsys.readouterr().out)
    later = str(VerifierKey(origin_of(ledger_keys().public_key), ledger_keys(1).public_key))
    for given, code, told in (
        ([], 6, "older than that key, or of a forged log; what tells is the key of that time"),
        (["--checkpoint", str(tmp_path / "whole.note")], 0, "the key that was given is not in it, and may be newer"),
    ):
        assert call("verify", "--export", str(export), "--key", later, *given) == code
        assert told in capsys.readouterr().out
        assert call("verify", "--key", later, *given) == 1
        assert "is not the one that was given" in capsys.readouterr().out


async def test_an_export_of_another_log_is_not_compared_with_what_this_installation_remembers(ledger, capsys, tmp_path):
    assert call("verify") == 6
    other = DataLayout(tmp_path / "other")
    recorder = await Recorder.open(other.ledger, keys=partial(ledger_keys, 1))
    await recorder.fact(Event.PROXY_STARTED)
    (tmp_path / "kept.note").write_text(recorder.checkpoint)
    key = str(recorder.key)
    await recorder.close()
    export = write_export(other.ledger, tmp_path / "other.jsonl")
    given = ["--checkpoint", str(tmp_path / "kept.note")]
    capsys.readouterr()
    for arguments, code in ([], 6), (["--key", key], 6), (given, 0), ([*given, "--key", key], 0):
        assert call("verify", "--export", str(export), "--json", *arguments) == code
        told = json.loads(capsys.readouterr().out)
        assert "not of this installation's log: the command line and the command line, outside" in told["reason"]
        assert told["another_log"] == ["the command line", "the command line, outside the data folder"]
    # In the place of the ledger itself it is found, whatever is given for it.
    for name in ("ledger.sqlite", "ledger.signed"):
        (ledger.proxy / name).write_bytes((other.proxy / name).read_bytes())
    for arguments in ([], [*given, "--key", key]):
        assert call("verify", *arguments) == 1
        assert "remembers a checkpoint that this log's key has not signed" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["FIFO", "directory", "/dev/zero", "absent"])
async def test_an_export_is_a_regular_file_or_it_cannot_be_told(ledger, capsys, tmp_path, kind):
    export = tmp_path / "export"
    if kind == "FIFO":
        os.mkfifo(export)
    elif kind == "directory":
        export.mkdir()
    elif kind == "/dev/zero":
        export.symlink_to(kind)
    assert call("verify", "--export", str(export)) == 6
    assert "cannot tell: " in (error := capsys.readouterr().err)
    assert str(export) in error


async def test_a_line_without_an_end_is_read_to_its_limit(ledger, tmp_path, monkeypatch, capsys):
    export = tmp_path / "export"
    with export.open("wb") as stream:
        # Sparse: it takes no room.
        stream.truncate(1 << 36)
    assert call("verify", "--export", str(export)) == 1
    assert "entry     0" in capsys.readouterr().out


async def test_a_checkpoint_may_be_given_through_a_link_or_a_pipe(ledger, tmp_path, capsys):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    note = recorder.checkpoint
    await recorder.close()
    (tmp_path / "kept").write_text(note)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    assert call("verify", "--checkpoint", str(tmp_path / "link")) == 0
    reading, writing = os.pipe()
    os.write(writing, note.encode())
    os.close(writing)
    assert call("verify", "--checkpoint", f"/dev/fd/{reading}") == 0
    os.close(reading)
    capsys.readouterr()
    assert call("verify", "--checkpoint", "/dev/zero") == 2
    (tmp_path / "note").write_text(note_of(2).replace("\n2\n", "\n02\n"))
    assert call("verify", "--checkpoint", str(tmp_path / "note")) == 2
    told = capsys.readouterr().err
    assert f"--checkpoint: {tmp_path / 'note'} is no checkpoint: the second line" in told
    assert "longer than 65536 bytes; mycelos db audit checkpoint" in told


async def test_a_copy_of_the_whole_folder_is_noticed_by_the_head_outside(ledger, capsys, tmp_path):
    Vault.open(ledger, bytes(32)).close()
    shutil.copytree(ledger.root, tmp_path / "copy")
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call("verify") == 6
    shutil.rmtree(ledger.root)
    shutil.copytree(tmp_path / "copy", ledger.root)
    capsys.readouterr()
    assert call("verify") == 1
    assert "the command line, outside the data folder remembers entry 5" in capsys.readouterr().out


async def test_without_a_head_outside_a_copy_of_the_whole_folder_cannot_be_told(ledger, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME")
    Vault.open(ledger, bytes(32)).close()
    shutil.copytree(ledger.root, tmp_path / "copy")
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call("verify") == 6
    shutil.rmtree(ledger.root)
    shutil.copytree(tmp_path / "copy", ledger.root)
    assert call("verify") == 6


async def test_a_state_folder_that_refuses_is_said_and_the_evidence_stays_incomplete(
    ledger, capsys, tmp_path, monkeypatch
):
    Vault.open(ledger, bytes(32)).close()
    (tmp_path / "state").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert call("verify") == 6
    assert "cannot be written" in capsys.readouterr().err
    assert call("verify") == 6
    assert "outside the data folder remembered cannot be read" in capsys.readouterr().out


async def test_a_given_checkpoint_is_enough_to_hold_and_a_key_says_whose_it_is(ledger, capsys, tmp_path):
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    (tmp_path / "kept").write_text(recorder.checkpoint)
    key = str(recorder.key)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call("verify", "--checkpoint", str(tmp_path / "kept"), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["compared"], result["key"], result["signed"]) == (["the checkpoint that was given"], key, 6)
    ledger.command_line_head.unlink()
    shutil.rmtree(os.environ["XDG_STATE_HOME"])
    assert call("verify", "--key", key) == 6
    assert "vouches for the first 6 entries; nobody remembers whether there were more" in capsys.readouterr().out


async def test_a_key_or_checkpoint_of_another_log_is_broken(ledger, capsys, tmp_path):
    (tmp_path / "kept").write_text(note_of(2, number=1, origin_number=1))
    assert call("verify", "--checkpoint", str(tmp_path / "kept")) == 1
    assert "that this log's key has not signed" in capsys.readouterr().out
    other = VerifierKey(origin_of(ledger_keys(1).public_key), ledger_keys(1).public_key)
    assert call("verify", "--key", str(other)) == 1
    assert "is not the one that was given" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--key", "no-key"],
        ["--checkpoint", "absent.note"],
        ["--checkpoint", "/dev/null"],
        ["--checkpoint", "/etc/passwd"],
        ["--checkpoint", "/"],
    ],
)
async def test_what_cannot_be_compared_with_is_wrong_usage_and_named(ledger, capsys, arguments):
    assert call("verify", *arguments) == 2
    assert f"mycelos: {arguments[0]}: " in capsys.readouterr().err


async def test_what_the_gateway_forged_is_no_evidence_and_breaks_nothing(ledger, capsys):
    ledger.gateway.mkdir(parents=True)
    remember(ledger.gateway_head, note_of(3, number=1))
    assert call("verify") == 6
    assert "nothing can be taken from what is remembered by the gateway" in capsys.readouterr().out


async def test_the_file_of_the_last_signed_note_may_be_behind_and_not_gone(ledger, capsys):
    file_of(ledger.ledger).write_bytes(bytes(512))
    assert call("verify") == 6
    file_of(ledger.ledger).unlink()
    assert call("verify") == 1
    assert "how far the log was signed is gone" in capsys.readouterr().out


async def test_a_log_that_nobody_signed_is_said_to_be_one(layout, capsys):
    recorder = await Recorder.open(layout.ledger)
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert call("verify") == 6
    assert "signed    nothing" in capsys.readouterr().out
    assert not layout.command_line_head.exists()


@pytest.mark.parametrize("take", ["unlink", "empty", "folder"])
async def test_a_witness_file_that_is_gone_is_no_agreement(ledger, capsys, monkeypatch, tmp_path, take):
    notes = tmp_path / "mnt" / "notes"
    notes.parent.mkdir()
    recorder = await Recorder.open(ledger.ledger, keys=ledger_keys)
    append(notes, recorder.checkpoint)
    await recorder.close()
    monkeypatch.setenv("MYCELOS_WITNESS", str(notes))
    assert call("verify") == 0
    exported = tmp_path / "exported"
    assert await asyncio.to_thread(call, "export", "--output", str(exported)) == 0
    if take == "empty":
        notes.write_bytes(b"")
    else:
        shutil.rmtree(notes.parent) if take == "folder" else notes.unlink()
    capsys.readouterr()
    for words in ((), ("--export", str(exported))):
        assert call("verify", "--json", *words) == 6
        told = json.loads(capsys.readouterr().out)
        assert (told["verdict"], str(notes) in told["reason"]) == ("cannot_tell", True)
    # Without the witness being set, as before: nobody notices.
    monkeypatch.delenv("MYCELOS_WITNESS")
    assert call("verify") == 0


async def test_a_shell_without_the_witness_that_the_proxy_had_cannot_tell(layout, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Vault.open(layout, bytes(32)).close()
    await (await Recorder.open(layout.ledger, keys=ledger_keys)).close()
    outside = outside_of(layout, os.environ, installation_of(layout.vault))
    assert [call("verify"), call("verify")] == [6, 0]
    keeper = LastSetKeeper(outside, LastSet(str(tmp_path / "notes"), 1, "https://w.example"))
    await keeper.write()
    capsys.readouterr()
    assert call("verify") == 6
    told = capsys.readouterr().out
    assert f"the proxy had the witness {tmp_path / 'notes'}, and it is not set here" in told
    assert "the proxy had the witness https://w.example, and it is not set here" in told
