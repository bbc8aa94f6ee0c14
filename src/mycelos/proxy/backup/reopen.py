"""What comes back with an old copy, and what does not: the one place in which restore and adopt end.

Whatever was taken away since the copy was made must not come to life by it. So every credential is parked, what lets
anything out is removed, and who may sign in is asked anew. The ledger goes on in a new epoch that says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.chain import EMPTY, Head
from mycelos.ledger.events import Event
from mycelos.ledger.log_filter import Filter
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.foreign_database import demand_cleanable, empty_tables
from mycelos.proxy.changes import remove_all
from mycelos.proxy.egress.rules import EgressRule, EgressRules
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.database import LedgerError, demand_private, demand_schema, lies_there
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.last_signed import read_last_signed
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.recovery import examine
from mycelos.proxy.ledger.signed_end import demand_signed_end
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.operator_door.views import binding_details, rule_details
from mycelos.proxy.operator_settings import Setting
from mycelos.proxy.rollback import WAYS_ON
from mycelos.proxy.tables import EGRESS_RULES, OPERATOR_SETTINGS, PASSKEYS
from mycelos.proxy.vault import records
from mycelos.proxy.vault.long_lived_keys import open_held
from mycelos.proxy.vault.signing import Signer
from mycelos.proxy.vault.slots import system_clock, timestamp
from mycelos.proxy.vault.store import Vault
from mycelos.wire.keys import LEDGER_SIGNING_KEY
from mycelos.wire.operator import WebAnswer

if TYPE_CHECKING:
    from mycelos.proxy.vault.long_lived_keys import HeldKeys
    from mycelos.proxy.vault.records import Contents, Credential

PRINCIPAL: Final = "operator"
_REASON: Final = "an old copy was taken over"
_GROUP: Final = 500
"""Entries that wait for the disk together."""
_SIGNED_IN: Final = ("sessions", "links")
"""Tables of the gateway whose rows let somebody in."""

Step = Callable[[str], None]
"""Told what is done next."""


@dataclass(frozen=True)
class Reopened:
    """What became of the copy: the head that it ended in, where the ledger is now, and what was taken out of use.

    ``old_head`` is `EMPTY` where the copy had no ledger any more.
    """

    old_head: Head
    head: Head
    parked: tuple[str, ...]
    rules: tuple[EgressRule, ...]
    web: WebAnswer
    passkeys: int
    sessions: int
    locked: bool


def reopen(
    layout: DataLayout,
    master_key: bytes,
    *,
    restored: dict[str, Any] | None,
    stay_locked: bool,
    step: Step,
) -> Reopened:
    """Take the folder below ``layout``, in which nothing runs, for the installation from now on.

    Run again after it was cut short, it finishes.

    Args:
        layout: the folder.
        master_key: the key of its vault, which was tried before.
        restored: what `backup.restored` tells of the file; None where the folder is adopted as it lies there.
        stay_locked: whether egress is locked down whatever the copy says.
        step: told before each write.

    Raises:
        LedgerError, VaultError, Refusal, OSError, sqlite3.Error: it cannot be written; the texts say what to do.
    """
    return asyncio.run(_reopen(layout, master_key, restored, stay_locked, step))


async def _reopen(
    layout: DataLayout, master_key: bytes, restored: dict[str, Any] | None, stay_locked: bool, step: Step
) -> Reopened:
    async with AsyncExitStack() as stack:
        step("vault: opened")
        # First: who has the vault has the installation for itself, the ledger with it.
        check = partial(_demand_usable, layout, _way_out(layout) if restored is None else "Use another backup.")
        vault = await asyncio.to_thread(partial(Vault.open, layout, master_key, adopt=True, check=check))
        stack.push_async_callback(asyncio.to_thread, vault.close)
        old_head, set_at = _read_ledger(layout)
        step("ledger: a new epoch")
        recorder = await Recorder.open(layout.ledger, keys=partial(ledger_keys, vault), adopt=True)
        stack.push_async_callback(recorder.close)
        reason = "" if old_head != EMPTY else "there was no ledger any more"
        intent = await recorder.intent(
            Event.LEDGER_RESTORED, principal=PRINCIPAL, reason=reason, details=_place(old_head)
        )
        rules = EgressRules.open(vault.database, vault.keys)
        web, listed, credentials = rules.web, tuple(rules.list()), vault.list()
        lockdown = Lockdown.open(vault.database, vault.keys, set_at)
        if stay_locked and not lockdown.state.locked:
            lockdown.stop()
        locked = lockdown.state
        step("ledger: what is taken out of use")
        # Before the effect and not after it: a run that finishes what another began no longer sees what was removed.
        await _record(recorder, credentials, listed)
        if locked.locked and set_at is None:
            details = {"since": locked.since or ""}
            await recorder.fact(
                Event.LOCKDOWN_SET, principal=PRINCIPAL, outcome="ok", reason="kept over a restore", details=details
            )
        step("vault: parked")
        passkeys = await vault.database.run(lambda connection: _take_out_of_use(connection, vault))
        if locked.locked:
            await lockdown.keep()
        step("gateway: signed out")
        sessions = _sign_out(layout)
        step("ledger: reopened")
        if restored is not None:
            await recorder.fact(Event.BACKUP_RESTORED, principal=PRINCIPAL, outcome="ok", details=restored)
        # The state that holds from now on: what the next start holds the vault against.
        settled = {"count": len(credentials), **vault.state.anchor_details()}
        await recorder.outcome(intent, outcome="ok", details=settled)
        head, checkpoint = recorder.head, recorder.checkpoint
    step("heads: remembered")
    _renew_heads(layout, checkpoint)
    return Reopened(
        old_head=old_head,
        head=head,
        parked=tuple(credential.service for credential in credentials),
        rules=listed,
        web=web,
        passkeys=passkeys,
        sessions=sessions,
        locked=locked.locked,
    )


def _demand_usable(layout: DataLayout, way_out: str, contents: Contents, held: HeldKeys) -> None:
    """Refuse what would end the work half-way: asked while the vault is locked and still as it was.

    Raises:
        BackupError: there is nothing to take over, or the ledger or the gateway's database cannot be taken over.
        LedgerError: a file of the ledger is not a plain one of this user.
        VaultError: a key in the vault does not open.
    """
    if lies_there(layout.ledger):
        demand_private(layout.ledger)
    # Whatever it says: it is written in the end.
    read_last_signed(layout.ledger)
    try:
        if _read_ledger(layout)[0] == EMPTY and not contents.records:
            raise BackupError(
                detail="There is no ledger, and the vault holds no credential: nothing to take over.",
                next_step=WAYS_ON,
            )
        public_key = _signing_key(held)
        if layout.ledger.exists():
            examine(layout.ledger)
            demand_schema(layout.ledger)
            named = demand_signed_end(layout.ledger, adopt=True)
            if named is not None:
                named.demand_accepted(public_key)
    except LedgerError as error:
        detail = f"The ledger cannot be taken over: {error.what}. Nothing was changed."
        raise BackupError(detail=detail, next_step=way_out) from None
    if os.path.lexists(layout.gateway_database):
        demand_cleanable(layout.gateway_database)


def _signing_key(held: HeldKeys) -> bytes | None:
    """The public half of the key that signs the ledger, None where the vault has none yet; every key of it opens."""
    found = None
    for name in held.in_use:
        with open_held(held, name) as key:
            if name == LEDGER_SIGNING_KEY:
                found = Signer(key).public_key
    return found


def _read_ledger(layout: DataLayout) -> tuple[Head, str | None]:
    """Where the ledger of the copy ends, and since when it says that egress is locked down."""
    if not layout.ledger.exists():
        return EMPTY, None
    with LedgerReader(layout.ledger) as reader:
        last = reader.newest(1)
        lockdowns = reader.newest(1, Filter(event="lockdown"))
    if not last:
        return EMPTY, None
    set_at = next((entry.at for entry in lockdowns if entry.event == Event.LOCKDOWN_SET), None)
    return Head(last[0].seq, last[0].leaf_hash), set_at


async def _record(recorder: Recorder, credentials: Sequence[Credential], rules: Sequence[EgressRule]) -> None:
    abouts: list[tuple[Event, str, dict[str, Any]]] = [
        (
            Event.CREDENTIAL_PARKED,
            credential.service,
            {
                "credential_id": credential.id,
                "credential_version": credential.version,
                **binding_details(credential.label, credential.bindings),
            },
        )
        for credential in credentials
    ]
    abouts += [
        (Event.EGRESS_RULE_CHANGED, rule.host, {"changed": ["removed"], "rule_id": rule.id, **rule_details(rule)})
        for rule in rules
    ]
    for at in range(0, len(abouts), _GROUP):
        await asyncio.gather(
            *(
                recorder.fact(
                    event, principal=PRINCIPAL, subject=subject, outcome="ok", reason=_REASON, details=details
                )
                for event, subject, details in abouts[at : at + _GROUP]
            )
        )


def _take_out_of_use(connection: sa.Connection, vault: Vault) -> int:
    """Park every credential, and remove what lets out or lets in; how many passkeys were removed."""
    records.park_all(connection, vault.keys.slot, timestamp(system_clock()))
    remove_all(connection, EGRESS_RULES)
    remove_all(connection, OPERATOR_SETTINGS, OPERATOR_SETTINGS.c.name == Setting.WEB.value)
    return remove_all(connection, PASSKEYS)


def _sign_out(layout: DataLayout) -> int:
    """End every session and link of the gateway's page, and whatever would act there; how many sessions there were."""
    if not os.path.lexists(layout.gateway_database):
        return 0
    return empty_tables(layout.gateway_database, _SIGNED_IN).get("sessions", 0)


def _renew_heads(layout: DataLayout, checkpoint: str | None) -> None:
    """From here on, this is what the ledger is held against. The gateway's is renewed where there is one."""
    if checkpoint is None:
        message = "a ledger that is signed has a checkpoint"
        raise AssertionError(message)
    remember(layout.command_line_head, checkpoint)
    if layout.gateway_head.exists():
        remember(layout.gateway_head, checkpoint)


def _way_out(layout: DataLayout) -> str:
    return (
        f"Put back another copy of the data folder. Without one: move {layout.ledger} and all beside it that begins "
        f"with {layout.ledger.stem}. out of the folder, keep them as evidence, and run this again; the vault is then "
        "taken over with a new ledger."
    )


def _place(head: Head) -> dict[str, Any]:
    return {} if head == EMPTY else {"seq": head.seq, "leaf_hash": head.leaf_hash}
