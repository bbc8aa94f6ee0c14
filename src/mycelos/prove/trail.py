"""L2, L3, L4, F1: the ledger as it is here, copies of it that are tampered with, and a proxy that loses its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.entry import entry_from_row
from mycelos.ledger.events import EVENTS, Event
from mycelos.ledger.verify import Verdict, verify
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import remembered_heads
from mycelos.proxy.ledger.reader import Filter, LedgerReader
from mycelos.wire.operator import StoreCredential
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.ledger.entry import Entry
    from mycelos.prove.installation import Installation

COPIED: Final = 200
"""Entries of the copy that is tampered with."""

LOOKED_AT: Final = 5000


def probe_verification(installation: Installation) -> list[Finding]:
    """L2: verify the ledger that is here, then tamper with a copy of its first entries in every way."""
    layout = installation.layout
    remembered = remembered_heads(layout)
    if remembered.unreadable:
        message = f"what {' and '.join(remembered.unreadable)} remembered cannot be read: mycelos db audit verify"
        raise CannotShowError(message)
    try:
        with LedgerReader(layout.ledger) as reader:
            result = verify(reader.rows(), remembered.heads)
            changed = reader.schema_faults()
            copy = reader.after(-1, COPIED) if result.verdict is not Verdict.BROKEN else []
    except LedgerError as error:
        return [Finding("read the ledger", str(error), held=False)]
    where = f"; entry {result.fault.seq}" if result.fault else ""
    if result.verdict is Verdict.CANNOT_TELL:
        message = f"{result.reason}; run mycelos db audit verify once, so that a head is remembered"
        raise CannotShowError(message)
    findings = [
        Finding(f"find a fault in the {result.entries} entries here", f"{result.reason}{where}",
                held=result.verdict is Verdict.HOLDS),
        Finding("find the table's guards changed", ", ".join(changed) or "as the proxy made them", held=not changed),
    ]  # fmt: skip
    return [*findings, *_tamper(copy)] if copy else findings


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
        result = verify(entries, {"this probe": Head(entries[-1].seq, entries[-1].leaf_hash)})
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


def _tamper(copy: list[Entry]) -> list[Finding]:
    place = len(copy) // 2
    last = Head(copy[-1].seq, copy[-1].leaf_hash)
    edited = copy[place]._replace(outcome="tampered")
    rewritten = _rewritten([*copy[:place], edited, *copy[place + 1 :]])
    attacks = (
        ("edit an entry", [*copy[:place], edited, *copy[place + 1 :]], place),
        ("delete an entry", [*copy[:place], *copy[place + 1 :]], place),
        ("insert an entry", [*copy[:place], copy[0]._replace(seq=place), *copy[place:]], place),
        ("exchange two entries", [*copy[:place], *reversed(copy[place:])], place),
        ("cut the end off", copy[:place], place),
        ("write everything anew", rewritten, last.seq),
    )
    return [_located(what, rows, last, expected) for what, rows, expected in attacks if len(copy) > 2]


def _located(what: str, rows: list[Entry], remembered: Head, expected: int) -> Finding:
    result = verify(rows, {"this probe": remembered})
    if result.fault is None:
        return Finding(f"{what} in a copy", "it was not noticed", held=False)
    return Finding(f"{what} in a copy", f"entry {result.fault.seq}: {result.fault.what}",
                   held=result.fault.seq == expected)  # fmt: skip


def _rewritten(entries: list[Entry]) -> list[Entry]:
    head, made = EMPTY, []
    for entry in entries:
        linked = entry._replace(prev_hash=head.leaf_hash)
        sealed = entry_from_row(linked._replace(leaf_hash=computed_hash(linked)))
        head = Head(sealed.seq, sealed.leaf_hash)
        made.append(sealed)
    return made
