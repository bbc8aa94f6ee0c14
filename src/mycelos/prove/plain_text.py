"""V4: what the gateway can get hold of in plain; and texts that hold a stored secret, which go nowhere."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from mycelos.ledger.events import Event
from mycelos.prove import canary_run
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import Twin
from mycelos.wire.secret_forms import FORMS, SHORTEST_FORM

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation
    from mycelos.prove.twin import Answer

_MORE_THAN_ALLOWED: Final = 100
_GUESSED_AT_ONCE: Final = 60
"""Texts of a thousand characters in one entry."""
_ENTRIES: Final = 40
_ALLOWED_CHARACTERS: Final = 1_100_000
_NOBODYS: Final = "What does this say: hunter2-hunter2-hunter2?"


def probe_gateway(installation: Installation) -> list[Finding]:
    """V4: everything that comes through the gateway's door in one run, then what it asks and records."""
    findings = [canary_run.everything_that_came(installation)]
    with Twin(1) as twin:
        if _check(twin, _NOBODYS).body != {"is_held": False}:
            message = "the twin does not say of a harmless text that it is one, so its refusals would show nothing"
            raise CannotShowError(message)
        findings += [_messages(twin), _entry(twin), _guesses(twin), _guesses_unread(twin), _guesses_in_entries(twin)]
        return findings


def _check(twin: Twin, text: str) -> Answer:
    return twin.gateway("POST", "/secret/check", {"text": text})


def _messages(twin: Twin) -> Finding:
    """A message with the secret in each family of spellings that a text can have."""
    passed = []
    families = {
        family: next(form for form in make(twin.canary.encode()) if len(form) >= SHORTEST_FORM)
        for family, make in FORMS.items()
    }
    for family, form in families.items():
        answer = _check(twin, f"my key: {form.decode('latin-1')}, keep it")
        if answer.body != {"is_held": True}:
            passed.append(family)
    recorded = sum(entry.event == Event.PROXY_SECRET_REFUSED for entry in twin.entries())
    happened = f"passed as {', '.join(passed)}" if passed else f"each is told from a harmless one, {recorded} on record"
    tried = f"have a message with a stored secret kept, in {len(families)} spellings"
    return Finding(tried, happened, held=not passed and recorded == len(families))


def _entry(twin: Twin) -> Finding:
    """The gateway's own words in the ledger are looked through by the same function."""
    answers = [
        twin.gateway("POST", "/audit/append", {"event": "run.started", **fields})
        for fields in (
            {"subject": twin.canary},
            {"reason": f"x{twin.canary.encode().hex()}"},
            {"details": {"chat_id": twin.canary}},
        )
    ]
    harmless = twin.gateway("POST", "/audit/append", {"event": "run.started", "subject": _NOBODYS})
    if harmless.status != 200:
        message = "the twin records nothing at all for its gateway, so its refusals would show nothing"
        raise CannotShowError(message)
    refused = sum(answer.code == "invalid_request" for answer in answers)
    return Finding("have a stored secret put on record as the gateway's words", f"{refused} of {len(answers)} refused",
                   held=refused == len(answers))  # fmt: skip


def _guesses(twin: Twin) -> Finding:
    """Ask without end: as an oracle it must be worth nothing."""
    codes = [_check(twin, f"guess-{number:08}").code for number in range(_MORE_THAN_ALLOWED)]
    answered = codes.count("")
    return Finding(f"guess {_MORE_THAN_ALLOWED} secrets at once", f"{answered} were answered, then rate_limited",
                   held=answered < _MORE_THAN_ALLOWED and codes[-1] == "rate_limited")  # fmt: skip


def _guesses_unread(twin: Twin) -> Finding:
    """An entry that is none leaves no record: it must not say whether a guess in it was right."""
    right, wrong = twin.canary, "x" * len(twin.canary)
    told = [
        name
        for name in _unwritable(right)
        if _append(twin, _unwritable(right)[name]) != _append(twin, _unwritable(wrong)[name])
    ]
    return Finding("guess secrets by entries that cannot be written",
                   f"told by {', '.join(told)}" if told else "a right guess is answered as a wrong one",
                   held=not told)  # fmt: skip


def _unwritable(guess: str) -> dict[str, dict[str, object]]:
    return {
        "an unknown event": {"event": "nope", "details": {"tools": [guess]}},
        "an event of the operator's": {"event": "credential.deleted", "subject": guess},
        "an unknown field": {"event": "run.started", "subject": guess, "details": {"nope": guess}},
    }


def _append(twin: Twin, message: dict[str, object]) -> Answer:
    return twin.gateway("POST", "/audit/append", message)


def _guesses_in_entries(twin: Twin) -> Finding:
    """As many guesses as an entry can hold, without end. Each that is answered is on record."""
    answered, code = 0, ""
    for _ in range(_ENTRIES):
        guesses = [secrets.token_hex(500) for _ in range(_GUESSED_AT_ONCE)]
        code = twin.gateway("POST", "/audit/append", {"event": "run.started", "details": {"tools": guesses}}).code
        if code:
            break
        answered += sum(map(len, guesses))
    recorded = sum(
        entry.event == Event.PROXY_SECRET_REFUSED and entry.reason == "too_much_text" for entry in twin.entries()
    )
    return Finding("guess secrets by entries without end",
                   f"{answered} characters were answered, then {code or 'nothing'}; {recorded} on record",
                   held=answered <= _ALLOWED_CHARACTERS and code == "rate_limited" and recorded > 0)  # fmt: skip
