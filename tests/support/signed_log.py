"""Signed logs made in memory, by their owner and by those who attack them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mycelos.ledger.chain import EMPTY, Head, computed_hash, seal
from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.entry import Draft, Entry, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.items import interleaved
from mycelos.ledger.key_change import KeyChange
from mycelos.ledger.merkle import Frontier
from mycelos.ledger.signed_note import VerifierKey
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.keys import LEDGER_SIGNING_KEY


def private_key(number: int) -> Ed25519PrivateKey:
    """One of the keys that tests know by number."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public_key(number: int) -> bytes:
    """Its public half."""
    return private_key(number).public_key().public_bytes_raw()


def origin_of(number: int) -> str:
    """The name of the log whose first key is this one."""
    return f"ledger.mycelos.internal/{hashlib.sha256(public_key(number)).hexdigest()[:16]}"


def head_of(entry: Entry) -> Head:
    """The head of a log that ends with ``entry``."""
    return Head(entry.seq, entry.leaf_hash)


def linked(entries: Iterable[Entry]) -> list[Entry]:
    """The chain computed anew over what ``entries`` say now."""
    head, made = EMPTY, []
    for entry in entries:
        moved = entry._replace(seq=head.seq + 1, prev_hash=head.leaf_hash)
        made.append(moved._replace(leaf_hash=computed_hash(moved)))
        head = head_of(made[-1])
    return made


class SignedLog:
    """A log that names key ``first`` in its entry 0. Keys are numbers; ``name`` is the origin, where not the key's."""

    def __init__(self, first: int = 1, *, name: str | None = None) -> None:
        self.origin = name or origin_of(first)
        self.signer = first
        self.entries: list[Entry] = []
        self.notes: list[tuple[int, bytes]] = []
        details = {"origin": self.origin, "key_id": f"key_{first}", "public_key": public_key(first).hex()}
        self.append(Event.LEDGER_CHECKPOINT, outcome="ok", details=details)

    @property
    def size(self) -> int:
        return len(self.entries)

    def vkey(self, number: int | None = None) -> VerifierKey:
        return VerifierKey(self.origin, public_key(number or self.signer))

    def append(self, event: Event, phase: Phase = Phase.FACT, **about: Any) -> int:
        """Write one entry; gives its place."""
        head = head_of(self.entries[-1]) if self.entries else EMPTY
        draft: Draft = make_draft(event, phase, tenant=DEFAULT_TENANT, **about)
        self.entries.append(seal(draft, head, 0, f"2026-01-31T12:00:00.{self.size:06}Z", self.size))
        return self.size - 1

    def fill(self, count: int) -> None:
        """Write so many requests."""
        for number in range(self.size, self.size + count):
            details = {"host": "api.example", "port": 443, "status": 200}
            self.append(Event.PROXY_HTTP_REQUEST, principal="gateway", run=f"run-{number}", details=details)

    def note(self, size: int | None = None, signer: int | None = None) -> bytes:
        """A checkpoint of the first ``size`` entries, which is not kept."""
        tree = Frontier()
        size = self.size if size is None else size
        for entry in self.entries[:size]:
            list(tree.append(bytes.fromhex(entry.leaf_hash)))
        key = self.vkey(signer)
        signed = Checkpoint(self.origin, size, tree.root()).signed([(key, private_key(signer or self.signer).sign)])
        return str(signed).encode()

    def sign(self) -> bytes:
        """Keep a checkpoint of the log as it is."""
        self.notes.append((self.size, self.note()))
        return self.notes[-1][1]

    def announce(self, following: int, previous: int | None = None) -> int:
        """Record the intent to change the key; gives its place."""
        previous = previous or self.signer
        change = KeyChange(
            LEDGER_SIGNING_KEY, f"key_{previous}", public_key(previous).hex(), f"key_{following}",
            public_key(following).hex(),
        )  # fmt: skip
        statement = change.statement()
        details = change.details(private_key(previous).sign(statement), private_key(following).sign(statement))
        return self.append(Event.KEY_ROTATED, Phase.INTENT, principal="operator", details=details)

    def settle(self, intent: int, outcome: str = "ok") -> None:
        """Record what came of an intent."""
        self.append(Event.KEY_ROTATED, Phase.OUTCOME, principal="operator", intent_seq=intent, outcome=outcome)

    def rotate(self, following: int) -> None:
        """Change the key."""
        intent = self.announce(following)
        self.signer = following
        self.settle(intent)

    def items(self) -> list[Sequence[Any] | bytes]:
        """What verification walks."""
        return list(interleaved(self.entries, self.notes))


def grown(*counts: int, first: int = 1) -> SignedLog:
    """A log that was signed after each of so many requests."""
    log = SignedLog(first)
    log.sign()
    for count in counts:
        log.fill(count)
        log.sign()
    return log
