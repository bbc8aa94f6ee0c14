"""Ledger entries in words, for the time line. Pure.

Every text is written out once more: what was put into the file past the ledger cannot turn a line of the page around.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from mycelos.ledger.events import KNOWN, SUSPICIOUS
from mycelos.ledger.text import escape, shorten

_LONGEST: Final = 160
"""Characters of one part of a line; the entry in full has all of it."""
_LONGEST_OUTCOME: Final = 24
_BAD: Final = frozenset({"denied", "failed", "refused", "blocked", "error", "cut"})
_KNOWN: Final = frozenset(source.value for source in KNOWN)
_TITLES: Final[Mapping[str, str]] = {
    "agent.changed": "An agent was changed",
    "agent.created": "An agent was added",
    "agent.deleted": "An agent was deleted",
    "approval.expired": "A person was asked, and did not answer in time",
    "approval.granted": "A person allowed a request",
    "approval.refused": "A person refused a request",
    "audit.downloaded": "The ledger was downloaded through the page",
    "audit.exported": "The ledger was exported",
    "auth.link_created": "A one-time link was made",
    "auth.locked_out": "Too many wrong passwords",
    "auth.login": "Somebody signed in",
    "auth.login_failed": "A sign-in failed",
    "auth.logout": "Somebody signed out",
    "auth.refused": "A request to this page was refused",
    "auth.session_revoked": "Sessions were ended",
    "backup.created": "A backup was made",
    "backup.restored": "A backup was put back",
    "chat.created": "A chat was opened",
    "chat.deleted": "A chat was deleted",
    "clock.stepped": "The clock was moved",
    "confirm.asked": "A request waits for a person",
    "confirm.expired": "A request waited for a person too long",
    "confirm.granted": "A person confirmed a request",
    "confirm.refused": "A person refused a request",
    "credential.armed": "A credential may be given out once",
    "credential.bound": "A credential's binding was changed",
    "credential.confirmed": "A parked credential was confirmed",
    "credential.deleted": "A credential was deleted",
    "credential.parked": "A credential was parked",
    "credential.rotated": "A credential was replaced",
    "credential.stored": "A credential was stored",
    "egress.opened": "A private address was opened",
    "egress.rule_changed": "An egress rule was changed",
    "gateway.started": "The gateway started",
    "intent.unresolved": "Something was begun, and nobody knows what came of it",
    "key.rotated": "A key was replaced",
    "ledger.checkpoint": "The ledger signed what it holds",
    "ledger.limited": "More was to be recorded than may be",
    "ledger.rebuilt": "The ledger's index and schema were made anew",
    "ledger.restored": "The ledger was put back from a copy",
    "ledger.vault_stated": "What the vault holds was said again",
    "ledger.verify_failed": "The ledger does not hold",
    "ledger.witness_disagreed": "A witness remembers another ledger",
    "ledger.witness_failed": "A witness did not answer",
    "ledger.witnessed": "A witness took a checkpoint",
    "lockdown.lifted": "The lockdown was lifted",
    "lockdown.set": "Everything that leaves was stopped",
    "model.changed": "A model endpoint was changed",
    "operator.link_created": "A one-time link to the vault page was made",
    "operator.login": "Somebody signed in at the vault page",
    "operator.login_failed": "A sign-in at the vault page failed",
    "operator.logout": "Somebody signed out of the vault page",
    "operator.passkey_enrolled": "A passkey was enrolled",
    "operator.passkey_removed": "A passkey was removed",
    "operator.refused": "A request to the vault page was refused",
    "policy.allowed": "A tool call was allowed",
    "policy.asked": "A tool call waits for a person",
    "policy.denied": "A tool call was denied",
    "proxy.auth_failed": "Somebody knocked at the proxy without its token",
    "proxy.binding_violation": "A credential was kept from a place that it is not bound to",
    "proxy.credential_materialized": "A credential was given out in plain",
    "proxy.http_request": "A request left the machine",
    "proxy.materialize_denied": "A credential was not given out",
    "proxy.response_scrubbed": "A secret was taken out of an answer",
    "proxy.secret_refused": "A text that holds a stored secret was refused",
    "proxy.ssrf_blocked": "A forbidden address was blocked",
    "proxy.started": "The proxy started",
    "run.cancelled": "A run was cancelled",
    "run.failed": "A run failed",
    "run.finished": "A run finished",
    "run.started": "A run started",
    "sandbox.killed": "A sandbox was killed",
    "sandbox.probe_failed": "A wall does not hold",
    "sandbox.refused": "A sandbox could not be built",
    "sandbox.wall_waived": "A wall is missing, and the operator accepts it",
    "tool.called": "A tool was called",
    "tool.failed": "A tool failed",
}


@dataclass(frozen=True)
class Line:
    """One line of the time line: an entry, or an outcome with its intent at ``intent_seq``. ``clock`` is UTC.

    What is not ``is_known`` is the gateway's claim. ``agent`` and ``run`` always are: nobody else knows them.
    """

    seq: int
    intent_seq: int | None
    at: str
    clock: str
    day: str
    event: str
    phase: str
    is_known: bool
    agent: str
    run: str
    title: str
    text: str
    outcome: str
    is_suspicious: bool
    is_bad: bool


def lines_of(entries: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Line]]]:
    """The entries as lines, newest first, by day. An intent whose outcome is here as well is told with it."""
    by_seq = {entry["seq"]: entry for entry in entries if isinstance(entry.get("seq"), int)}
    pairs = {seq: _intent_of(entry, by_seq) for seq, entry in by_seq.items()}
    told = {intent["seq"] for intent in pairs.values() if intent is not None}
    lines = [line_of(by_seq[seq], pairs[seq]) for seq in sorted(by_seq, reverse=True) if seq not in told]
    return [(day, list(group)) for day, group in groupby(lines, key=lambda line: line.day)]


def line_of(entry: Mapping[str, Any], intent: Mapping[str, Any] | None = None) -> Line:
    """One entry as a line, with its intent where that is to be told with it."""
    event, at, outcome = text_of(entry, "event"), text_of(entry, "at"), text_of(entry, "outcome")
    day, clock = _moment(at)
    is_suspicious = event in _SUSPICIOUS
    return Line(
        seq=entry["seq"],
        intent_seq=None if intent is None else intent["seq"],
        at=at,
        clock=clock,
        day=day,
        event=event,
        phase=text_of(entry, "phase"),
        is_known=is_known(entry),
        agent=text_of(entry, "agent"),
        run=text_of(entry, "run"),
        title=title_of(event),
        text=_words(entry, intent),
        outcome=shorten(outcome, _LONGEST_OUTCOME),
        is_suspicious=is_suspicious,
        is_bad=is_suspicious or outcome in _BAD,
    )


def title_of(event: str) -> str:
    """An event in words, or its name."""
    return _TITLES.get(event, event)


def is_known(entry: Mapping[str, Any]) -> bool:
    """Whether proxy or operator say so; all else is claimed by the gateway."""
    return entry.get("source") in _KNOWN


def text_of(entry: Mapping[str, Any], key: str) -> str:
    """A text column, harmless; empty where it is none."""
    value = entry.get(key)
    return escape(value) if isinstance(value, str) else ""


def details_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The details, empty where they are none."""
    found = entry.get("details")
    return found if isinstance(found, Mapping) else {}


_SUSPICIOUS: Final = frozenset(event.value for event in SUSPICIOUS)


def _intent_of(entry: Mapping[str, Any], by_seq: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    found = by_seq.get(entry["intent_seq"]) if isinstance(entry.get("intent_seq"), int) else None
    is_pair = (
        found is not None
        and (entry.get("phase"), found.get("phase")) == ("outcome", "intent")
        and entry.get("event") == found.get("event")
    )
    return found if is_pair else None


def _words(entry: Mapping[str, Any], intent: Mapping[str, Any] | None) -> str:
    own = details_of(entry)
    told = own if intent is None else {**details_of(intent), **own}
    parts = []
    if told.get("host"):
        scheme, port = told.get("scheme", ""), told.get("port", "")
        usual = {"https": 443, "http": 80}.get(str(scheme)) == port
        where = f"{scheme}://{told['host']}" if scheme else str(told["host"])
        where += "" if usual or not port else f":{port}"
        parts.append(f"{told.get('method', '')} {where}{told.get('path', '')}".strip())
    parts += [f"{field} {told[field]}" for field in ("tool", "name", "service", "layer", "peer") if told.get(field)]
    # A request's subject is its host, a tool call's its tool.
    repeated = {"", told.get("host"), told.get("tool"), told.get("name"), told.get("service")}
    parts += [text for text in (text_of(entry, "subject"), text_of(entry, "reason")) if text not in repeated]
    if "status" in told:
        parts.append(f"status {told['status']}")
    parts += [
        f"{size_of(told[field])} {way}"
        for field, way in (("bytes_sent", "sent"), ("bytes_received", "received"))
        if isinstance(told.get(field), int)
    ]
    return " · ".join(dict.fromkeys(shorten(escape(part), _LONGEST) for part in parts))


def size_of(count: int) -> str:
    """A number of bytes for people: ``12 B``, ``3.4 kB``."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" and size < 100 else f"{size:.0f} {unit}"


def _moment(at: str) -> tuple[str, str]:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return "unknown day", at
    return moment.strftime("%A, %d %B %Y"), moment.strftime("%H:%M:%S")
