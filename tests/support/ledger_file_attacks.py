"""The attacks of `ledger_matrix`, each done to the files of an installation of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing

from kept_installation import kept
from ledger_files import Log, World, away, fill
from ledger_keys import ledger_keys as made_keys
from ledger_matrix import EDITED, KEPT, RECENT, REMEMBERED, SIZE

from mycelos.ledger.chain import EMPTY, seal
from mycelos.ledger.entry import Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.prove.ledger_copy import forge_index, put_signed, unguarded
from mycelos.proxy.ledger.keys import LedgerKeys, origin_of
from mycelos.proxy.ledger.last_signed import file_of
from mycelos.proxy.ledger.reader import READ_LIMIT
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.keys import LEDGER_SIGNING_KEY

Attack = Callable[[World], None]
ATTACKS: dict[str, Attack] = {}


def _attack(name: str) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return add


def _changing(name: str) -> Callable[[Callable[[Log, World], None]], None]:
    """An attack that changes the log and writes it back."""

    def add(change: Callable[[Log, World], None]) -> None:
        def attack(world: World) -> None:
            log = Log.read(world.layout.ledger, READ_LIMIT)
            change(log, world)
            log.write(world.layout.ledger)

        ATTACKS[name] = attack

    return add


def _with_sql(name: str, *statements: str) -> None:
    """An attack past the guards."""

    def attack(world: World) -> None:
        with unguarded(world.layout.ledger) as connection:
            for statement in statements:
                connection.execute(statement)

    ATTACKS[name] = attack


def _on_schema(name: str, *statements: str) -> None:
    """An attack that leaves the guards as it makes them."""

    def attack(world: World) -> None:
        with closing(sqlite3.connect(world.layout.ledger, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    ATTACKS[name] = attack


@_attack("nothing")
def _nothing(_: World) -> None:
    """The twin of all of them."""


_with_sql("edit an entry", f"UPDATE audit_events SET outcome = 'harmless' WHERE seq = {EDITED}")
_with_sql("edit one of the last 1,000", f"UPDATE audit_events SET outcome = 'harmless' WHERE seq = {RECENT}")
_with_sql("delete an entry", f"DELETE FROM audit_events WHERE seq = {EDITED}")
_with_sql(
    "reorder entries",
    f"UPDATE audit_events SET seq = -1 WHERE seq = {EDITED}",
    f"UPDATE audit_events SET seq = {EDITED} WHERE seq = {EDITED + 1}",
    f"UPDATE audit_events SET seq = {EDITED + 1} WHERE seq = -1",
)


@_changing("edit, and compute chain and tree anew")
def _edit_and_link(log: Log, _: World) -> None:
    log.edit()


@_changing("the same, and take its checkpoints away")
def _edit_link_and_drop(log: Log, _: World) -> None:
    log.edit()
    log.notes, log.signed = {}, ""


@_changing("delete, and compute chain and tree anew")
def _delete_and_link(log: Log, _: World) -> None:
    del log.entries[EDITED]
    log.link()


@_changing("insert an entry")
def _insert(log: Log, _: World) -> None:
    log.entries.insert(EDITED, log.entries[3])
    log.entries = [entry._replace(seq=seq) for seq, entry in enumerate(log.entries)]


@_changing("insert, and compute chain and tree anew")
def _insert_and_link(log: Log, _: World) -> None:
    log.entries.insert(EDITED, log.entries[3])
    log.link()


@_changing("reorder, and compute chain and tree anew")
def _reorder_and_link(log: Log, _: World) -> None:
    log.entries[EDITED : EDITED + 2] = log.entries[EDITED : EDITED + 2][::-1]
    log.link()


@_changing("append an entry without the key")
def _append(log: Log, _: World) -> None:
    log.append(Event.CREDENTIAL_DELETED, subject="github", outcome="ok")


@_changing("append what a command may add beside a stopped system")
def _append_unsigned(log: Log, _: World) -> None:
    log.append(Event.BACKUP_CREATED, outcome="ok")


@_changing("append an entry with the key")
def _append_with_key(log: Log, world: World) -> None:
    log.append(Event.PROXY_SSRF_BLOCKED, run="made-up")
    size = len(log.entries)
    log.notes = {at: note for at, note in log.notes.items() if at != SIZE}
    log.signed = log.notes[size] = log.note(world.keys, world.key.name, size)


@_changing("cut the end off")
def _cut(log: Log, _: World) -> None:
    del log.entries[1200:]


@_changing("cut the end off with its checkpoints")
def _cut_notes(log: Log, _: World) -> None:
    log.cut(1100)


@_changing("the same, and set ledger.signed back")
def _cut_all(log: Log, _: World) -> None:
    log.cut(1100)
    log.signed = log.notes[1100]


@_changing("the same, between two checkpoints")
def _cut_between(log: Log, _: World) -> None:
    del log.entries[1150:]
    log.notes = {size: note for size, note in log.notes.items() if size <= 1100}
    log.signed = log.notes[1100]


@_changing("cut off what came after the remembered checkpoint")
def _cut_after(log: Log, world: World) -> None:
    log.cut(REMEMBERED)
    log.signed = log.notes[REMEMBERED] = world.remembered


@_changing("empty the ledger")
def _empty(log: Log, _: World) -> None:
    log.cut(0)
    log.signed = ""


@_attack("take everything in data/proxy away")
def _nothing_left(world: World) -> None:
    shutil.rmtree(world.layout.proxy)
    world.layout.proxy.mkdir(mode=0o700)


@_attack("put an old copy of data/proxy back")
def _roll_back(world: World) -> None:
    shutil.rmtree(world.layout.proxy)
    shutil.copytree(world.old, world.layout.proxy)


def _put_back(world: World, *patterns: str) -> None:
    for pattern in patterns:
        for path in world.layout.proxy.glob(pattern):
            path.unlink()
        for path in world.old.glob(pattern):
            shutil.copy2(path, world.layout.proxy)


@_attack("put an old copy of the ledger and ledger.signed back")
def _roll_back_ledger(world: World) -> None:
    _put_back(world, "ledger.sqlite*", "ledger.signed")


@_attack("put an old copy of the ledger alone back")
def _roll_back_database(world: World) -> None:
    _put_back(world, "ledger.sqlite*")


@_attack("go on from an old copy of data/proxy")
def _go_on(world: World) -> None:
    _roll_back(world)

    async def go_on(environ: dict[str, str]) -> None:
        async with kept(world.layout, environ) as running:
            for size in (1000, SIZE):
                await fill(running, size)

    with away(world.layout.root.with_name("away")) as environ:
        asyncio.run(go_on(environ))


@_changing("rewrite everything with the key")
def _rewrite(log: Log, world: World) -> None:
    log.edit()
    log.sign(world.keys, world.key.name)


@_changing("rewrite everything as a log that was never signed")
def _rewrite_unsigned(log: Log, _: World) -> None:
    del log.entries[0]
    log.append(Event.PROXY_SSRF_BLOCKED)
    log.link()
    log.notes, log.signed = {}, ""


def _swap(log: Log, origin: str | None = None) -> None:
    keys = made_keys(7)
    details = keys.declaration() | ({} if origin is None else {"origin": origin})
    draft = make_draft(Event.LEDGER_CHECKPOINT, Phase.FACT, tenant=DEFAULT_TENANT, outcome="ok", details=details)
    log.entries[0] = seal(draft, EMPTY, 0, log.entries[0].at, log.entries[0].mono)
    log.link()
    log.sign(keys, origin or origin_of(keys.public_key))


@_changing("rewrite everything with another key")
def _rewrite_with_another(log: Log, _: World) -> None:
    _swap(log)


@_changing("the same, under the name of the log")
def _rewrite_under_its_name(log: Log, world: World) -> None:
    _swap(log, world.key.name)


@_attack("put a new vault and its own ledger there")
def _new_installation(world: World) -> None:
    shutil.rmtree(world.layout.proxy)
    shutil.copytree(world.new, world.layout.proxy)


@_changing("hand the log on to another key without its own")
def _seize(log: Log, world: World) -> None:
    other = made_keys(7)
    details = {
        "name": LEDGER_SIGNING_KEY,
        "previous_key_id": world.keys.key_id,
        "previous_public_key": world.keys.public_key.hex(),
        "key_id": other.key_id,
        "public_key": other.public_key.hex(),
        "previous_signature": other.sign(b"what the old key has never signed").hex(),
        "signature": other.sign(b"and not even this").hex(),
    }
    log.append(Event.KEY_ROTATED, Phase.INTENT, principal="operator", details=details)
    _newest_by(log, other, world)


@_changing("sign with another key")
def _sign_as_a_stranger(log: Log, world: World) -> None:
    log.append(Event.PROXY_SSRF_BLOCKED)
    _newest_by(log, made_keys(7), world)


def _newest_by(log: Log, keys: LedgerKeys, world: World) -> None:
    size = len(log.entries)
    log.notes.pop(SIZE)
    log.signed = log.notes[size] = log.note(keys, world.key.name, size)


@_changing("change a kept checkpoint")
def _change_note(log: Log, _: World) -> None:
    lines = log.notes[KEPT].split("\n")
    lines[2] = ("B" if lines[2][0] == "A" else "A") + lines[2][1:]
    log.notes[KEPT] = "\n".join(lines)


@_changing("change the newest checkpoint's signature")
def _change_signature(log: Log, _: World) -> None:
    note = log.notes[SIZE]
    log.notes[SIZE] = note[:-9] + ("A" if note[-9] != "A" else "B") + note[-8:]


@_changing("put a kept checkpoint in the place of another")
def _move(log: Log, _: World) -> None:
    log.notes[KEPT] = log.notes[400]


_with_sql("delete a kept checkpoint", f"DELETE FROM checkpoints WHERE size = {KEPT}")
_with_sql("delete the newest checkpoint", f"DELETE FROM checkpoints WHERE size = {SIZE}")
_with_sql("change a hash of the stored tree", "UPDATE tree_nodes SET hash = zeroblob(32) WHERE level = 8 AND place = 2")
_with_sql("delete a hash of the stored tree", "DELETE FROM tree_nodes WHERE level = 8 AND place = 4")
_with_sql("add a hash to the stored tree", "INSERT INTO tree_nodes VALUES (8, 5, zeroblob(32))")


@_attack("delete ledger.signed")
def _unlink(world: World) -> None:
    file_of(world.layout.ledger).unlink()


def _put_into_signed(name: str, note: Callable[[Log, World], str]) -> None:
    ATTACKS[name] = lambda world: put_signed(
        world.layout.ledger, note(Log.read(world.layout.ledger, READ_LIMIT), world)
    )


_put_into_signed("empty ledger.signed", lambda _log, _world: "")
_put_into_signed("put an older note into ledger.signed", lambda log, _world: log.notes[1100])
_put_into_signed(
    "put another key's note into ledger.signed", lambda log, world: log.note(made_keys(7), world.key.name, SIZE)
)
_put_into_signed("put anything else into ledger.signed", lambda _log, _world: "anything else")

_on_schema("take a guard away", "DROP TRIGGER audit_events_no_delete")
_on_schema(
    "put a guard of the same name that does nothing",
    "DROP TRIGGER audit_events_no_update",
    "CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events BEGIN SELECT 1; END",
)
_on_schema("add an index that leaves rows out", "CREATE INDEX fast ON audit_events (event) WHERE seq < 100")
_on_schema("change the schema's version", "PRAGMA user_version = 4")


@_attack("leave a change of the vault out of the index, and put the old vault back")
def _hide_and_roll_back_vault(world: World) -> None:
    forge_index(world.layout.ledger, where="event <> 'credential.rotated'")
    _put_back(world, "vault.sqlite*")


@_attack("leave an entry before the last 1,000 out of the index")
def _hide_far_back(world: World) -> None:
    forge_index(world.layout.ledger, where="event <> 'credential.stored'")


@_attack("add an entry to the index that the log has not")
def _add_to_index(world: World) -> None:
    forge_index(world.layout.ledger, f"CASE seq WHEN {RECENT} THEN 'credential.deleted' ELSE event END")
