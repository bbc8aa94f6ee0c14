"""Ledger entries in words, for the time line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from mycelos.ledger.events import SUSPICIOUS

_OUTSIDE: Final = frozenset({"proxy.http_request", "proxy.credential_materialized"})
_BAD: Final = frozenset({"denied", "failed", "refused", "blocked", "error"})
_TITLES: Final[Mapping[str, str]] = {
    "agent.changed": "An agent was changed",
    "agent.created": "An agent was added",
    "agent.deleted": "An agent was deleted",
    "auth.link_created": "A one-time link was made",
    "auth.locked_out": "Too many wrong passwords",
    "auth.login": "Somebody signed in",
    "auth.login_failed": "A sign-in failed",
    "auth.logout": "Somebody signed out",
    "chat.created": "A chat was opened",
    "chat.deleted": "A chat was deleted",
    "credential.bound": "A credential's binding was changed",
    "credential.deleted": "A credential was deleted",
    "credential.rotated": "A credential was replaced",
    "credential.stored": "A credential was stored",
    "egress.opened": "A private address was opened",
    "egress.rule_changed": "An egress rule was changed",
    "gateway.started": "The gateway started",
    "model.changed": "A model endpoint was changed",
    "policy.allowed": "A tool call was allowed",
    "policy.asked": "A tool call waits for a person",
    "policy.denied": "A tool call was denied",
    "proxy.auth_failed": "Somebody knocked at the proxy without its token",
    "proxy.binding_violation": "A credential was kept from a place that it is not bound to",
    "proxy.http_request": "A request left the machine",
    "proxy.response_scrubbed": "A secret was taken out of an answer",
    "proxy.ssrf_blocked": "A forbidden address was blocked",
    "proxy.started": "The proxy started",
    "run.cancelled": "A run was cancelled",
    "run.failed": "A run failed",
    "run.finished": "A run finished",
    "run.started": "A run started",
    "sandbox.killed": "A sandbox was killed",
    "sandbox.refused": "A sandbox could not be built",
    "tool.called": "A tool was called",
    "tool.failed": "A tool failed",
}


@dataclass(frozen=True)
class Line:
    """One entry of the time line. ``clock`` is UTC."""

    seq: int
    at: str
    clock: str
    day: str
    event: str
    phase: str
    source: str
    agent: str
    title: str
    text: str
    outcome: str
    is_suspicious: bool
    is_bad: bool


def lines_of(entries: Iterable[Mapping[str, Any]], *, outside_only: bool) -> list[tuple[str, list[Line]]]:
    """The entries as lines, newest first, by day."""
    lines = [_line(entry) for entry in entries if not outside_only or entry.get("event") in _OUTSIDE]
    lines.sort(key=lambda line: line.seq, reverse=True)
    return [(day, list(group)) for day, group in groupby(lines, key=lambda line: line.day)]


def _line(entry: Mapping[str, Any]) -> Line:
    event, at, outcome = _text(entry, "event"), _text(entry, "at"), _text(entry, "outcome")
    seq = entry.get("seq")
    day, clock = _moment(at)
    is_suspicious = event in {name.value for name in SUSPICIOUS}
    return Line(
        seq=seq if isinstance(seq, int) else -1,
        at=at,
        clock=clock,
        day=day,
        event=event,
        phase=_text(entry, "phase"),
        source=_text(entry, "source"),
        agent=_text(entry, "agent"),
        title=_TITLES.get(event, event),
        text=_words(entry),
        outcome=outcome,
        is_suspicious=is_suspicious,
        is_bad=is_suspicious or outcome in _BAD,
    )


def _words(entry: Mapping[str, Any]) -> str:
    found = entry.get("details")
    details = found if isinstance(found, Mapping) else {}
    parts = []
    if details.get("host"):
        scheme, port = details.get("scheme", ""), details.get("port", "")
        usual = {"https": 443, "http": 80}.get(str(scheme)) == port
        where = f"{scheme}://{details['host']}" if scheme else str(details["host"])
        where += "" if usual or not port else f":{port}"
        parts.append(f"{details.get('method', '')} {where}{details.get('path', '')}".strip())
    named = ("tool", "name", "service", "layer", "peer")
    parts.extend(f"{field} {details[field]}" for field in named if details.get(field))
    parts.extend(_text(entry, field) for field in ("subject", "reason") if _text(entry, field) not in {"", *parts})
    return " · ".join(parts)


def _moment(at: str) -> tuple[str, str]:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return "unknown day", at
    return moment.strftime("%A, %d %B %Y"), moment.strftime("%H:%M:%S")


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
