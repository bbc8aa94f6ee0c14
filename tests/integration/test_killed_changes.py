"""A real proxy is killed, or its disk refuses, in the middle of a change: all of it is there or nothing of it.

Killed or refused at the write that would make a log of SQLite longer than a length, for each length: what is below was
written. `RLIMIT_FSIZE` does it: beyond it the kernel kills where SIGXFSZ is not ignored, and refuses where it is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import pytest

from mycelos.ledger.chain import Head
from mycelos.ledger.verify import Verdict
from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import twin
from mycelos.prove.twin import Twin
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.keys import read_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.operator import BindCredential, RotateCredential, StoreCredential
from mycelos.wire.problems import ProblemCode, Refusal

FRAME = 4096 + 24
"""A page in SQLite's log, with its head: https://www.sqlite.org/fileformat2.html#the_write_ahead_log"""
LONGEST = 24 * FRAME
KILLED_AT_A_WRITE = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
DEEP = os.environ.get("MYCELOS_TEST_DEPTH") == "deep"


@dataclass(frozen=True)
class Known:
    version: int
    hosts: tuple[str, ...]
    secret: str


def known_of(proxy):
    """What its files say once it is ended, and that nothing in them is half."""
    with closing(sqlite3.connect(proxy.layout.vault)) as connection:
        (heads,) = connection.execute("SELECT count(*) FROM credentials").fetchone()
        (versions,) = connection.execute("SELECT count(*) FROM credential_versions").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    vault = Vault.open(proxy.layout, read_master_key(proxy.layout.master_key))
    try:
        assert vault.damaged() == ()
        found = {}
        for credential in vault.list():
            with vault.open_secret(credential) as secret:
                hosts = tuple(binding.host for binding in credential.bindings)
                found[credential.service] = Known(credential.version, hosts, secret.reveal().decode())
    finally:
        vault.close()
    assert heads == versions == len(found)
    return found


def demand_ledger(proxy, head):
    with LedgerReader(proxy.layout.ledger) as reader:
        entries = reader.after(-1, READ_LIMIT)
    result = verify_ledger(proxy.layout.ledger, {"the test": head}).result
    assert (result.verdict, result.fault) == (Verdict.HOLDS, None)
    return entries


def newest(proxy):
    entry = proxy.entries()[-1]
    return Head(entry.seq, entry.leaf_hash)


def log_of(path):
    return path.with_name(path.name + "-wal")


def cut_short(path):
    """Bring a log into its database, so that it begins anew."""
    with closing(sqlite3.connect(path)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0


def limit_files(proxy, length):
    resource.prlimit(proxy._process.pid, resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))


def changes(proxy):
    """Each change by its name: the call, what it makes of what is known."""
    store, other = StoreCredential, proxy.binding(proxy.port)
    return {
        "store": (
            partial(proxy.operator.store, store(service="new", secret="new-secret-1", bindings=(other,))),
            lambda known: known | {"new": Known(1, ("127.0.0.1",), "new-secret-1")},
        ),
        "rotate": (
            partial(proxy.operator.rotate, RotateCredential(service="canary", secret="next-secret-2")),
            lambda known: known | {"canary": replace(known["canary"], version=2, secret="next-secret-2")},
        ),
        "bind": (
            partial(proxy.operator.bind, BindCredential(service="canary", bindings=(other,) * 2, label="x")),
            lambda known: known | {"canary": replace(known["canary"], version=2, hosts=("127.0.0.1",) * 2)},
        ),
        "delete": (
            partial(proxy.operator.delete, "canary"),
            lambda known: {name: one for name, one in known.items() if name != "canary"},
        ),
    }


def at_a_length(name, log, beyond):
    """Do a change where ``log`` can grow by so many bytes; its refusal, None where done; state before, after, head."""
    with Twin(9) as proxy:
        before = {"canary": Known(1, ("127.0.0.1",), proxy.canary)}
        call, make = changes(proxy)[name]
        path, other = (proxy.layout.vault, proxy.layout.ledger)[:: 1 if log == "vault" else -1]
        cut_short(other)
        head = newest(proxy)
        limit_files(proxy, log_of(path).stat().st_size + beyond)
        try:
            call()
        except OperatorUnavailableError as error:
            outcome = error
        except Refusal as refusal:
            outcome = refusal
        else:
            outcome = None
        yield proxy, outcome
        # A process that broke off is on its way out: its end is waited for.
        ended = isinstance(outcome, OperatorUnavailableError)
        status = proxy._process.wait(30) if ended else proxy._process.poll()
        if status is None:
            limit_files(proxy, resource.RLIM_INFINITY)
        proxy.stop()
        yield status
        found = known_of(proxy)
        demand_ledger(proxy, head)
        yield found, before, make(before)


LENGTHS = range(0, LONGEST, FRAME // 4 if DEEP else FRAME)


@pytest.mark.parametrize("log", ["vault", "ledger"])
@pytest.mark.parametrize("name", ["store", "rotate", "bind", "delete"])
def test_killed_at_any_write_of_a_change_all_of_it_is_there_or_nothing(monkeypatch, name, log):
    monkeypatch.setattr(twin, "PROGRAM", KILLED_AT_A_WRITE + twin.PROGRAM)
    killed = done = 0
    for beyond in LENGTHS:
        (_, outcome), status, (found, before, after) = at_a_length(name, log, beyond)
        if outcome is None:
            done += 1
            assert (status, found) == (None, after)
            break
        killed += 1
        assert isinstance(outcome, OperatorUnavailableError)
        assert status == -signal.SIGXFSZ
        assert found in (before, after)
    assert killed
    assert done


@pytest.mark.parametrize("log", ["vault", "ledger"])
@pytest.mark.parametrize("name", ["store", "rotate", "bind", "delete"])
def test_a_disk_that_is_full_at_any_write_of_a_change_is_a_clear_error(name, log):
    refused = done = 0
    for beyond in LENGTHS:
        (proxy, outcome), status, (found, before, after) = at_a_length(name, log, beyond)
        assert status is None, "it lives"
        if outcome is None:
            done += 1
            assert found == after
            break
        refused += 1
        problem = outcome.problem
        assert problem.code in (ProblemCode.VAULT_UNAVAILABLE, ProblemCode.AUDIT_UNAVAILABLE)
        assert "free space" in problem.next or "disk" in problem.next
        assert proxy.canary not in str(problem)
        assert found == (after if "The change was made" in problem.detail else before), problem
    assert refused
    assert done


@pytest.mark.parametrize("rounds", [100 if DEEP else 8])
def test_killed_at_any_time_under_changes_what_was_acknowledged_is_there(rounds):
    chosen = random.Random(4)
    with Twin(9) as proxy:
        known = {"canary": Known(1, ("127.0.0.1",), proxy.canary)}
        for number in range(rounds):
            blow = threading.Timer(chosen.random() / 4, proxy._process.kill)
            blow.start()
            head, known, cut = change_until_killed(proxy, known, number, chosen)
            blow.join()
            assert proxy._process.wait(30) == -signal.SIGKILL
            found = known_of(proxy)
            assert found in (known, cut)
            known = found
            demand_ledger(proxy, head)
            proxy.restart()


def change_until_killed(proxy, known, number, chosen):
    """The newest head that was read, what is known, and what the change that was cut would have made of it."""
    head = newest(proxy)
    for step in itertools.count():
        service = chosen.choice(("one", "two", "three"))
        secret = f"secret-{number}-{step}"
        old = known.get(service)
        if old is None:
            message = StoreCredential(service=service, secret=secret, bindings=(proxy.binding(9),))
            call = partial(proxy.operator.store, message)
            after = known | {service: Known(1, ("127.0.0.1",), secret)}
        elif chosen.random() < 0.3:
            call = partial(proxy.operator.delete, service)
            after = {name: one for name, one in known.items() if name != service}
        else:
            call = partial(proxy.operator.rotate, RotateCredential(service=service, secret=secret))
            after = known | {service: replace(old, version=old.version + 1, secret=secret)}
        try:
            call()
        except OperatorUnavailableError:
            return head, known, after
        known = after
        with contextlib.suppress(IndexError):
            head = newest(proxy)
    raise AssertionError


def test_a_second_proxy_on_the_same_folder_is_refused_and_the_first_goes_on():
    with Twin(9) as proxy:
        ready, theirs = os.pipe()
        environment = {"PATH": os.environ["PATH"], "MYCELOS_PROXY_TOKEN": "s" * 64}
        words = ["--data-dir", str(proxy.folder), "--listen", f"unix:{proxy.folder}/second", "--ready-fd", str(theirs)]
        token = proxy.layout.operator_token.read_text()
        second = subprocess.run(
            [sys.executable, "-I", "-m", "mycelos.proxy", *words],
            env=environment, pass_fds=(theirs,), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        os.close(theirs)
        assert os.read(ready, 1) == b""
        os.close(ready)
        assert second.returncode == 1
        assert "Another process has the vault" in second.stderr
        assert "mycelos stop" in second.stderr
        assert proxy.layout.operator_token.read_text() == token
        proxy.operator.rotate(RotateCredential(service="canary", secret="goes-on-well"))


def test_two_who_store_look_alike_names_at_once_get_one_credential():
    names = ("mail-box", "mailbox", "mai1box", "ma1lbox", "mail_box", "rnailbox")
    with Twin(9) as proxy:
        start = threading.Barrier(len(names))
        codes = []

        def store(name):
            message = StoreCredential(service=name, secret=f"secret-of-{name}", bindings=(proxy.binding(9),))
            start.wait(30)
            try:
                codes.append((proxy.operator.store(message).service, ""))
            except Refusal as refusal:
                codes.append((name, refusal.problem.code.value))

        threads = [threading.Thread(target=store, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        stored = [name for name, code in codes if not code]
        assert sorted(code for _, code in codes) == ["", *["conflict"] * 5]
        proxy.stop()
        assert set(known_of(proxy)) == {"canary", *stored}
