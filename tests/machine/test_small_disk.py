"""A real proxy on a disk of its own that is full or read-only: a clear error, nothing half, and then it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial

import pytest

from mycelos.ledger.chain import Head
from mycelos.ledger.verify import Verdict, verify
from mycelos.prove.twin import Twin
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.keys import read_master_key
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.vault.store import Vault
from mycelos.wire.operator import RotateCredential, StoreCredential
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.machine

DISK = 8 * 1024 * 1024
STEP = 4096
RESERVE = 4 * DISK
"""Twice what the ledger's write-ahead log grows to: it is copied into the database where a proxy ends."""


@contextmanager
def mounted(folder, size):
    """A disk in memory."""
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder], check=True, timeout=60)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=60)


@pytest.fixture
def disk(short_directory, monkeypatch):
    """A small disk in memory, on which every temporary folder is made."""
    with mounted(short_directory / "disk", DISK) as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture
def larger_disk(short_directory, monkeypatch):
    """One with room for a reserve."""
    with mounted(short_directory / "disk", 8 * DISK) as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@contextmanager
def full(disk, left):
    """A disk with so many bytes left."""
    filler = disk / "filler"
    with filler.open("wb") as stream:
        space = os.statvfs(disk)
        os.posix_fallocate(stream.fileno(), 0, space.f_bavail * space.f_frsize - left)
    try:
        yield
    finally:
        filler.unlink()


def proxy_that_keeps(reserve):
    """A proxy whose gateway is bounded by nothing but the reserve of so many bytes."""
    proxy = Twin(9)
    proxy.layout.operator_file.touch(mode=0o600)
    proxy.layout.operator_file.write_text(
        f"[ledger]\nreserve_bytes = {reserve}\nburst_bytes = {2**40}\nbytes_per_second = {2**40}\n"
    )
    return proxy


def fill_by_entries(proxy):
    """The gateway appends until it is refused, the largest entries first; the receipts."""
    receipts = []
    for size in (60, 1):
        entry = {"event": "policy.changed", "details": {"changed": ["x" * 1024] * size}}
        while (answer := proxy.gateway("POST", "/audit/append", entry)).status == 200:
            receipts.append(answer.body)
        assert answer.code == "audit_unavailable"
    return receipts


def holds(proxy, receipts):
    """Every receipt's entry is there, and the ledger holds, up to its newest entry."""
    entries = {entry.seq: entry for entry in proxy.entries()}
    assert all(entries[receipt["seq"]].leaf_hash == receipt["leaf_hash"] for receipt in receipts)
    newest = max(entries)
    head = Head(newest, entries[newest].leaf_hash)
    result = verify_ledger(proxy.layout.ledger, {"the test": head}).result
    assert (result.verdict, result.fault) == (Verdict.HOLDS, None)


def known_of(proxy):
    vault = Vault.open(proxy.layout, read_master_key(proxy.layout.master_key))
    try:
        assert vault.damaged() == ()
        found = {}
        for credential in vault.list():
            with vault.open_secret(credential) as secret:
                found[credential.service] = (credential.version, secret.reveal().decode())
        return found
    finally:
        vault.close()


def test_on_a_full_disk_a_change_is_done_or_refused_and_afterwards_all_goes_on(disk):
    refused = done = 0
    with Twin(9) as proxy:
        known = {"canary": (1, proxy.canary)}
        for number in range(24):
            version, _ = known["canary"]
            secret = f"secret-number-{number}"
            rotate = partial(proxy.operator.rotate, RotateCredential(service="canary", secret=secret))
            store = StoreCredential(service=f"new-{number}", secret=secret, bindings=(proxy.binding(9),))
            with full(disk, number * STEP):
                for call, service, after in (
                    (rotate, "canary", (version + 1, secret)),
                    (partial(proxy.operator.store, store), store.service, (1, secret)),
                ):
                    try:
                        call()
                    except Refusal as refusal:
                        problem = refusal.problem
                        refused += 1
                        assert problem.code in (ProblemCode.VAULT_UNAVAILABLE, ProblemCode.AUDIT_UNAVAILABLE)
                        assert "free space" in problem.next or "disk" in problem.next
                        assert secret not in str(problem)
                        if "The change was made" not in problem.detail:
                            continue
                    else:
                        done += 1
                    known[service] = after
        # With space again, the same process goes on.
        proxy.operator.rotate(RotateCredential(service="canary", secret="the-last-secret"))
        known["canary"] = (known["canary"][0] + 1, "the-last-secret")
        entry = proxy.entries()[-1]
        proxy.stop()
        assert known_of(proxy) == known
        with LedgerReader(proxy.layout.ledger) as reader:
            result = verify(reader.items(), {"the test": Head(entry.seq, entry.leaf_hash)}, verifies)
        assert (result.verdict, result.fault) == (Verdict.HOLDS, None)
    assert refused
    assert done


def test_a_gateway_that_fills_the_disk_is_stopped_at_the_reserve_and_the_operator_revokes_on_record(larger_disk):
    with proxy_that_keeps(RESERVE) as proxy:
        with full(larger_disk, RESERVE + DISK):
            receipts = fill_by_entries(proxy)
            assert receipts
            assert proxy.use("http://127.0.0.1:9/bound").code == "audit_unavailable"
            assert proxy.gateway("GET", "/audit/events").status == 200
            proxy.operator.rotate(RotateCredential(service="canary", secret="another-secret"))
            proxy.operator.delete("canary")
            assert proxy.operator.set_lockdown(enabled=True).shortcomings == ()
            proxy.operator.set_lockdown(enabled=False)
            done = [(entry.event, entry.outcome) for entry in proxy.entries() if entry.phase == "outcome"]
            assert done[-4:] == [
                ("credential.rotated", "ok"),
                ("credential.deleted", "ok"),
                ("lockdown.set", "ok"),
                ("lockdown.lifted", "ok"),
            ]
            # Also a proxy that starts on such a disk serves the operator.
            proxy.restart()
            assert proxy.operator.credentials().credentials == ()
        receipts.append(proxy.gateway("POST", "/audit/append", {"event": "run.started"}).body)
        holds(proxy, receipts)


def test_without_the_reserve_the_gateway_keeps_the_operator_from_revoking(larger_disk):
    with proxy_that_keeps(0) as proxy:
        with full(larger_disk, DISK):
            receipts = fill_by_entries(proxy)
            with pytest.raises(Refusal) as caught:
                proxy.operator.delete("canary")
            assert caught.value.problem.code in (ProblemCode.VAULT_UNAVAILABLE, ProblemCode.AUDIT_UNAVAILABLE)
        # All the same nothing is lost, and with room it goes on.
        proxy.operator.delete("canary")
        holds(proxy, receipts)


def test_on_a_read_only_disk_the_proxy_says_so_and_changes_nothing(disk):
    with Twin(9) as proxy:
        proxy.stop()
        before = {path: path.read_bytes() for path in proxy.layout.proxy.iterdir() if path.is_file()}
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True, timeout=60)
        try:
            started = subprocess.run(
                [sys.executable, "-I", "-m", "mycelos.proxy", "--data-dir", str(proxy.folder),
                 "--listen", "127.0.0.1:0", "--ready-fd", "1"],
                env={"PATH": os.environ["PATH"], "MYCELOS_PROXY_TOKEN": "s" * 64},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        finally:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True, timeout=60)
        assert (started.returncode, started.stdout) == (1, "")
        assert "mycelos proxy cannot start: the system refused" in started.stderr
        assert "disk space and rights" in started.stderr
        assert {path: path.read_bytes() for path in proxy.layout.proxy.iterdir() if path.is_file()} == before
        proxy.restart()
        assert [one.service for one in proxy.operator.credentials().credentials] == ["canary"]
