"""What somebody does to a log who can write everything in its folder, and what verification says to whom.

The log was signed after 1, 6, 11, 16 and 19 entries, and whoever remembers a checkpoint remembers that of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from signed_log import SignedLog, grown, linked

from mycelos.ledger.events import Event
from mycelos.ledger.signed_note import VerifierKey
from mycelos.ledger.verify import RememberedNote, Verdict, Verification, verify
from mycelos.proxy.vault.signing import verifies

Items = list[Sequence[Any] | bytes]

REMEMBERED_SIZE = 16
EDITED = 8
KNOWN = ("nothing", "its key", "the gateway's checkpoint", "the operator's checkpoint")
"""What whoever verifies knows of the log from elsewhere. A hijacked gateway could have written what it remembers."""

_WORDS = {"B": Verdict.BROKEN, "C": Verdict.CANNOT_TELL, "H": Verdict.HOLDS}


@dataclass(frozen=True)
class Attack:
    """``verdicts`` has a letter for each of `KNOWN`; ``at`` is the entry that is named, where all is known."""

    name: str
    does: Callable[[SignedLog], Items]
    verdicts: str
    at: int | None

    def expected(self, known: str) -> Verdict:
        return _WORDS[self.verdicts[KNOWN.index(known)]]


def sound_log() -> SignedLog:
    return grown(5, 5, 5, 3)


def judge(attack: Attack, known: str) -> Verification:
    """What verification says of the log after ``attack``."""
    log = sound_log()
    note = log.note(REMEMBERED_SIZE)
    key: VerifierKey | None = log.vkey() if known == "its key" else None
    remembered: Mapping[str, RememberedNote] = {
        "the gateway's checkpoint": {"the gateway": RememberedNote(note, is_operators=False)},
        "the operator's checkpoint": {"the command line": RememberedNote(note)},
    }.get(known, {})
    return verify(attack.does(deepcopy(log)), remembered, verifies, trusted=key)


def table() -> str:
    """The attacks and what verification says, as text."""
    short = {Verdict.BROKEN: "broken", Verdict.CANNOT_TELL: "cannot tell", Verdict.HOLDS: "holds"}
    rows = [("what was done", *KNOWN)]
    rows += [(attack.name, *(short[judge(attack, known).verdict] for known in KNOWN)) for attack in ATTACKS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])


def _edit(log: SignedLog) -> Items:
    log.entries[EDITED] = log.entries[EDITED]._replace(outcome="ok")
    return log.items()


def _edit_and_link(log: SignedLog) -> Items:
    _edit(log)
    log.entries = linked(log.entries)
    return log.items()


def _edit_link_and_drop(log: SignedLog) -> Items:
    _edit_and_link(log)
    log.notes = [kept for kept in log.notes if kept[0] <= EDITED]
    return log.items()


def _delete(log: SignedLog) -> Items:
    del log.entries[EDITED]
    return log.items()


def _delete_and_link(log: SignedLog) -> Items:
    del log.entries[EDITED]
    log.entries = linked(log.entries)
    return log.items()


def _insert(log: SignedLog) -> Items:
    log.entries.insert(EDITED, log.entries[3])
    return log.items()


def _insert_and_link(log: SignedLog) -> Items:
    log.entries.insert(EDITED, log.entries[3])
    log.entries = linked(log.entries)
    return log.items()


def _reorder(log: SignedLog) -> Items:
    log.entries[EDITED : EDITED + 2] = log.entries[EDITED : EDITED + 2][::-1]
    return log.items()


def _reorder_and_link(log: SignedLog) -> Items:
    _reorder(log)
    log.entries = linked(log.entries)
    return log.items()


def _append(log: SignedLog) -> Items:
    log.append(Event.CREDENTIAL_DELETED, principal="operator", outcome="ok")
    return log.items()


def _cut(log: SignedLog) -> Items:
    del log.entries[11:]
    return log.items()


def _roll_back(log: SignedLog) -> Items:
    del log.entries[11:]
    log.notes = log.notes[:3]
    return log.items()


def _cut_between(log: SignedLog) -> Items:
    del log.entries[13:]
    log.notes = log.notes[:3]
    return log.items()


def _empty(_log: SignedLog) -> Items:
    return []


def _go_on(log: SignedLog) -> Items:
    _roll_back(log)
    for _ in range(3):
        log.append(Event.PROXY_AUTH_FAILED)
        log.append(Event.PROXY_HTTP_REQUEST)
        log.append(Event.PROXY_HTTP_REQUEST)
        log.sign()
    return log.items()


def _rewrite(log: SignedLog) -> Items:
    _edit_and_link(log)
    log.notes = []
    return log.items()


def _rewrite_unsigned(log: SignedLog) -> Items:
    log.entries = linked(log.entries[1:])
    log.notes = []
    return log.items()


def _rewrite_with_key(log: SignedLog) -> Items:
    _edit_and_link(log)
    log.notes = [(size, log.note(size)) for size, _ in log.notes]
    return log.items()


def _swap(log: SignedLog, name: str | None = None) -> Items:
    other = SignedLog(2, name=name)
    other.entries = linked([other.entries[0], *log.entries[1:]])
    other.notes = [(size, other.note(size)) for size, _ in log.notes]
    return other.items()


def _swap_under_its_name(log: SignedLog) -> Items:
    return _swap(log, log.origin)


def _seize(log: SignedLog) -> Items:
    """A stranger hands the log on to himself: he can sign for himself only."""
    log.announce(2, previous=2 + 1)
    log.signer = 2
    log.sign()
    return log.items()


def _sign_as_a_stranger(log: SignedLog) -> Items:
    log.fill(2)
    log.signer = 2
    log.sign()
    return log.items()


def _sign_with_the_key_before(log: SignedLog) -> Items:
    log.rotate(2)
    log.sign()
    log.fill(1)
    log.signer = 1
    log.sign()
    return log.items()


def _flip(log: SignedLog) -> Items:
    size, note = log.notes[2]
    log.notes[2] = size, note[:60] + bytes([note[60] ^ 1]) + note[61:]
    return log.items()


def _flip_signature(log: SignedLog) -> Items:
    size, note = log.notes[2]
    log.notes[2] = size, note[:-9] + (b"A" if note[-9:-8] != b"A" else b"B") + note[-8:]
    return log.items()


def _move_checkpoint(log: SignedLog) -> Items:
    log.notes[2] = 11, log.notes[1][1]
    return log.items()


def _repeat_checkpoint(log: SignedLog) -> Items:
    items = log.items()
    items.append(items[-1])
    return items


def _drop_checkpoint(log: SignedLog) -> Items:
    del log.notes[2]
    return log.items()


def _cut_after_the_remembered(log: SignedLog) -> Items:
    del log.entries[REMEMBERED_SIZE:]
    log.notes = log.notes[:4]
    return log.items()


ATTACKS = (
    Attack("nothing", SignedLog.items, "CCHH", None),
    Attack("edit an entry", _edit, "BBBB", 8),
    Attack("edit, and compute the chain anew", _edit_and_link, "BBBB", 10),
    Attack("the same, and drop the checkpoints that cover it", _edit_link_and_drop, "BBBB", 15),
    Attack("delete an entry", _delete, "BBBB", 8),
    Attack("delete, and compute the chain anew", _delete_and_link, "BBBB", 10),
    Attack("insert an entry", _insert, "BBBB", 8),
    Attack("insert, and compute the chain anew", _insert_and_link, "BBBB", 10),
    Attack("reorder entries", _reorder, "BBBB", 8),
    Attack("reorder, and compute the chain anew", _reorder_and_link, "BBBB", 10),
    Attack("append an entry", _append, "BBBB", 19),
    Attack("cut the end off, keep its checkpoints", _cut, "BBBB", 11),
    Attack("cut the end off with its checkpoints", _roll_back, "CCBB", 11),
    Attack("the same, between two checkpoints", _cut_between, "BBBB", 13),
    Attack("take away all of it", _empty, "CBCB", 0),
    Attack("go on from an old copy, with the key", _go_on, "CCBB", 15),
    Attack("rewrite all without the key", _rewrite, "BBBB", 15),
    Attack("rewrite all as a log that was never signed", _rewrite_unsigned, "CBCB", 15),
    Attack("rewrite all with the key", _rewrite_with_key, "CCBB", 15),
    Attack("rewrite all with another key", _swap, "CBCB", 15),
    Attack("the same, under the name of the log", _swap_under_its_name, "CBCB", 15),
    Attack("hand the log on to another key without its own", _seize, "BBBB", 19),
    Attack("sign with another key", _sign_as_a_stranger, "BBBB", 20),
    Attack("sign with the key before the last change", _sign_with_the_key_before, "BBBB", 21),
    Attack("change a checkpoint's text", _flip, "BBBB", 10),
    Attack("change a checkpoint's signature", _flip_signature, "BBBB", 10),
    Attack("put a checkpoint in the place of another", _move_checkpoint, "BBBB", 10),
    Attack("repeat a checkpoint", _repeat_checkpoint, "BBBB", 18),
    Attack("drop one checkpoint of several", _drop_checkpoint, "CCHH", None),
    Attack("cut off what came after the remembered checkpoint", _cut_after_the_remembered, "CCHH", None),
)
"""The last two are what no checkpoint that is remembered can show: nothing was lost, and nobody knew of it."""


if __name__ == "__main__":
    print(table())
