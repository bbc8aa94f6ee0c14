"""L2, L3, L4, F1: the ledger as it is here, copies of it that are tampered with, and a proxy that loses its ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import Head, seal
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import EVENTS, Event
from mycelos.ledger.log_filter import Filter
from mycelos.ledger.verify import Verdict
from mycelos.prove.ledger_attacks import attack_copy
from mycelos.prove.ledger_copy import unguarded
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.ledger.database import INSERT, LedgerError
from mycelos.proxy.ledger.heads import outside_of, remembered_heads
from mycelos.proxy.ledger.last_signed import file_of
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.installation import installation_of
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.ledger.entry import Entry
    from mycelos.prove.installation import Installation

LOOKED_AT: Final = 5000


def probe_verification(installation: Installation) -> list[Finding]:
    """L2: verify the ledger that is here, then attack a copy of its files in every way that needs no key."""
    layout = installation.layout
    installation_name = installation_of(layout.vault)
    if installation_name is None and os.path.lexists(layout.ledger):
        message = f"without the vault's name nobody outside of the data folder can be asked: {layout.vault}"
        raise CannotShowError(message)
    remembered = remembered_heads(layout, outside_of(layout, os.environ, installation_name))
    if remembered.unreadable:
        message = f"what {' and '.join(remembered.unreadable)} remembered cannot be read: mycelos db audit verify"
        raise CannotShowError(message)
    try:
        result = verify_ledger(layout.ledger, remembered.evidence).result
    except (LedgerError, OSError) as error:
        return [Finding("read the ledger", str(error), held=False)]
    try:
        attacked = attack_copy(layout.ledger) if result.verdict is not Verdict.BROKEN else []
    except (LedgerError, sqlite3.Error, OSError) as error:
        message = f"no copy of the ledger can be made and attacked ({error}); look for room in {tempfile.gettempdir()}"
        raise CannotShowError(message) from None
    if result.verdict is Verdict.CANNOT_TELL:
        message = f"{result.reason}; run mycelos db audit verify once, so that a checkpoint is remembered"
        raise CannotShowError(message)
    found = Finding(f"find a fault in the {result.entries} entries here", result.reason,
                    held=result.verdict is Verdict.HOLDS)  # fmt: skip
    return [found, *attacked]


def probe_forks(_installation: Installation) -> list[Finding]:
    """L2: change the files of a stopped twin, or put old ones back, and start it."""
    with Twin(1) as twin:
        twin.stop()
        with tempfile.TemporaryDirectory(prefix="mycelos-copy-") as name:
            old, newest = Path(name) / "old", Path(name) / "newest"
            _copy(twin.layout.ledger, old)
            twin.restart()
            twin.stop()
            _copy(twin.layout.ledger, newest)
            findings = []
            for tried, change in (
                ("go on from an old copy of its ledger", partial(_put_back, twin, old, "ledger.sqlite")),
                ("go on where ledger.signed is gone", file_of(twin.layout.ledger).unlink),
                ("go on behind an entry that it has not written", partial(_append_forged, twin)),
            ):
                change()
                findings.append(_refused(twin, tried))
                _put_back(twin, newest, "ledger.sqlite", "ledger.signed")
            twin.restart()
        return [*findings, _gone_on(twin)]


def probe_looking(installation: Installation) -> list[Finding]:
    """L3: what the filters show is exactly what is there."""
    try:
        with LedgerReader(installation.layout.ledger) as reader:
            everything = reader.newest(LOOKED_AT)
            if not everything:
                message = "the ledger is empty: nothing can be looked for"
                raise CannotShowError(message)
            middle = everything[len(everything) // 2]
            return [
                _same("suspicious events", reader, everything, Filter(suspicious=True),
                      _is_suspicious),
                _same(f"events since {middle.at}", reader, everything, Filter(since=middle.at),
                      lambda entry: entry.at >= middle.at),
                _same(f"events of the kind {middle.event}", reader, everything, Filter(event=middle.event),
                      lambda entry: entry.event == middle.event),
            ]  # fmt: skip
    except LedgerError as error:
        raise CannotShowError(str(error)) from None


def probe_records(_installation: Installation) -> list[Finding]:
    """L4: calls of every kind at a twin, each looked up in its ledger, one of them while it is on its way."""
    on_record: list[bool] = []
    twin: Twin

    def look() -> None:
        phases = [entry.phase for entry in twin.entries() if entry.event == Event.PROXY_HTTP_REQUEST]
        on_record.append(phases == ["intent"])

    with Upstream(look) as upstream, Twin(upstream.port) as twin:
        url = f"http://127.0.0.1:{upstream.port}"
        twin.use(f"{url}/bound/item")
        twin.use(f"{url}/elsewhere")
        twin.use("http://169.254.169.254/", with_credential=False)
        twin.gateway("POST", "/credential/materialize", {"service": "telegram"})
        twin.gateway("POST", "/credential/list", {}, bearer="x" * 64)
        forged = twin.gateway("POST", "/audit/append", {"event": "credential.deleted"})
        twin.stop()
        entries = twin.entries()
        seen = {entry.event for entry in entries}
        findings = [
            Finding("see a request arrive that is not on record yet",
                    f"{len(on_record)} arrived, {sum(on_record)} on record before",
                    held=bool(on_record) and all(on_record)),
            *(_recorded(event, seen) for event in (
                Event.PROXY_HTTP_REQUEST, Event.PROXY_BINDING_VIOLATION, Event.PROXY_SSRF_BLOCKED,
                Event.PROXY_MATERIALIZE_DENIED, Event.PROXY_AUTH_FAILED, Event.PROXY_RESPONSE_SCRUBBED,
            )),
            Finding("let the gateway append what only the operator can say", f"status {forged.status} {forged.code}",
                    held=forged.status == 403 and "credential.deleted" not in seen),
        ]  # fmt: skip
        text = "\n".join(str(tuple(entry)) for entry in entries).encode()
        held = not any(form in text for form in secret_forms(twin.canary.encode()))
        findings.append(Finding("find the credential in the ledger", "not there" if held else "it is there", held))
        head = Head(entries[-1].seq, entries[-1].leaf_hash)
        result = verify_ledger(twin.layout.ledger, {"this probe": head}).result
        return [*findings, Finding("find a fault in that ledger", result.reason, result.verdict is Verdict.HOLDS)]


def probe_fail_closed(_installation: Installation) -> list[Finding]:
    """F1: take a twin's ledger away while it runs; nothing may happen that cannot be recorded."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        url = f"http://127.0.0.1:{upstream.port}/bound/item"
        if twin.use(url).status != 200 or len(upstream.requests) != 1:
            message = "the twin does not work with its ledger, so nothing can be said of it without"
            raise CannotShowError(message)
        twin.layout.ledger.rename(twin.folder / "taken.sqlite")
        answer = twin.use(url)
        refused = answer.code == ProblemCode.AUDIT_UNAVAILABLE
        findings = [
            Finding("send a request while the ledger is gone", f"status {answer.status} {answer.code}", held=refused),
            Finding("see it arrive all the same", f"{len(upstream.requests) - 1} arrived",
                    held=len(upstream.requests) == 1),
            _store_without_ledger(twin),
        ]  # fmt: skip
        (twin.folder / "taken.sqlite").rename(twin.layout.ledger)
        recovered = twin.use(url).status
        return [*findings, Finding("work again when it is back", f"status {recovered}", held=recovered == 200)]


def _store_without_ledger(twin: Twin) -> Finding:
    tried = "store a credential while the ledger is gone"
    wanted = StoreCredential(service="unseen", secret="unseen-value", bindings=(twin.binding(twin.port),))  # noqa: S106 - a made-up one
    try:
        twin.operator.store(wanted)
    except Refusal as refusal:
        stored = [credential.service for credential in twin.operator.credentials().credentials]
        return Finding(tried, refusal.problem.code.value, held="unseen" not in stored)
    return Finding(tried, "it was stored", held=False)


def _recorded(event: Event, seen: set[str]) -> Finding:
    return Finding(f"do what {event.value} stands for and leave no trace",
                   "on record" if event in seen else "no trace", held=event in seen)  # fmt: skip


def _is_suspicious(entry: Entry) -> bool:
    # By the rules, not by the set that the filter is made of.
    return any(event.value == entry.event and rule.is_suspicious for event, rule in EVENTS.items())


def _same(
    what: str, reader: LedgerReader, everything: list[Entry], wanted: Filter, matches: Callable[[Entry], bool]
) -> Finding:
    # Entries that came meanwhile are left out of both.
    last = everything[-1].seq
    shown = [entry.seq for entry in reader.after(everything[0].seq - 1, LOOKED_AT, wanted) if entry.seq <= last]
    there = [entry.seq for entry in everything if matches(entry)]
    return Finding(f"find {what} that the filter hides", f"{len(shown)} shown of {len(there)}", held=shown == there)


def _copy(ledger: Path, folder: Path) -> None:
    folder.mkdir()
    for path in (ledger, file_of(ledger)):
        shutil.copy2(path, folder)


def _put_back(twin: Twin, folder: Path, *names: str) -> None:
    twin.stop()
    for path in twin.layout.proxy.glob("ledger.*"):
        if path.name.startswith(names):
            path.unlink()
    for name in names:
        shutil.copy2(folder / name, twin.layout.proxy)


def _append_forged(twin: Twin) -> None:
    """The chain's own next link, as nothing but the key would tell it from a true one."""
    last = twin.entries()[-1]
    draft = make_draft(Event.PROXY_HTTP_REQUEST, Phase.FACT, tenant=DEFAULT_TENANT, outcome="ok")
    with unguarded(twin.layout.ledger) as connection:
        connection.execute(INSERT, seal(draft, Head(last.seq, last.leaf_hash), last.epoch, last.at, last.mono))


def _refused(twin: Twin, tried: str) -> Finding:
    """Start the twin, which must say that it is its ledger that keeps it from that."""
    said = twin.log.stat().st_size
    try:
        twin.restart()
    except CannotShowError:
        text = twin.log.read_bytes()[said:].decode("utf-8", "replace")
        why = next((line for line in text.splitlines() if "cannot start" in line), "it does not start")
        return Finding(tried, why, held="ledger" in why)
    return Finding(tried, "it started", held=False)


def _gone_on(twin: Twin) -> Finding:
    result = verify_ledger(twin.layout.ledger, {}).result
    return Finding("find a fault in its own files after that", result.reason, held=result.fault is None)
