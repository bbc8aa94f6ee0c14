"""The door with all its routes: what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mycelos.proxy.key_rotation import Keys
from mycelos.proxy.operator_door.approvals import ApprovalRoutes
from mycelos.proxy.operator_door.backups import BackupRoutes
from mycelos.proxy.operator_door.credential_test import CredentialTestRoutes, EgressPort
from mycelos.proxy.operator_door.credentials import CredentialRoutes
from mycelos.proxy.operator_door.door import OperatorDoor
from mycelos.proxy.operator_door.keys import KeyRoutes
from mycelos.proxy.operator_door.materialize import MaterializeRoutes
from mycelos.proxy.operator_door.overview import OverviewRoutes
from mycelos.proxy.operator_door.passkeys import PasskeyRoutes
from mycelos.proxy.operator_door.recorded import RecordedChange
from mycelos.proxy.operator_door.rules import RuleRoutes
from mycelos.proxy.operator_door.sign_in import SignInRoutes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.egress.approvals import Approvals
    from mycelos.proxy.egress.rules import EgressRules
    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.lockdown_step import LockdownStep
    from mycelos.proxy.materialize import Materializing
    from mycelos.proxy.operator_door.links import OneTimeLinks
    from mycelos.proxy.passkeys.store import Passkeys
    from mycelos.proxy.vault.store import Vault
    from mycelos.wire.keys import KeySource
    from mycelos.wire.witness import WitnessStatus


@dataclass(frozen=True, kw_only=True)
class Parts:
    """``changed`` is called after each change, ``rotated`` with the service that has a new secret."""

    vault: Vault
    recorder: Recorder
    rules: EgressRules
    links: OneTimeLinks
    passkeys: Passkeys
    egress: EgressPort
    lockdown: LockdownStep
    approvals: Approvals
    materializing: Materializing
    changed: Callable[[], None]
    rotated: Callable[[str], None]
    layout: DataLayout
    key_source: KeySource
    witnesses: Callable[[], tuple[WitnessStatus, ...]] = tuple
    token: str = field(repr=False)


def compose(parts: Parts) -> OperatorDoor:
    """The operator's door over ``parts``."""
    change = RecordedChange(parts.recorder, parts.changed, parts.vault.state.anchor_details)
    routes = [
        *CredentialRoutes(parts.vault, change, parts.rotated).routes(),
        *CredentialTestRoutes(parts.vault, parts.egress).routes(),
        *RuleRoutes(parts.rules, parts.lockdown, change).routes(),
        *KeyRoutes(Keys(parts.vault, parts.recorder, change, parts.layout, parts.key_source)).routes(),
        *ApprovalRoutes(parts.approvals, change, parts.passkeys.judge).routes(),
        *MaterializeRoutes(parts.materializing, change).routes(),
        *BackupRoutes(parts.recorder).routes(),
        *SignInRoutes(parts.links, parts.recorder).routes(),
        *PasskeyRoutes(parts.passkeys, change, parts.recorder).routes(),
        *OverviewRoutes(
            parts.vault, parts.rules, parts.recorder, parts.lockdown, parts.passkeys, witnesses=parts.witnesses
        ).routes(),
    ]
    return OperatorDoor(recorder=parts.recorder, lockdown=parts.lockdown, token=parts.token, routes=routes)
