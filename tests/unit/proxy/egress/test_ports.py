from __future__ import annotations

import inspect

import pytest

from mycelos.proxy.egress import ports
from mycelos.proxy.egress.approvals import Approvals
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.vault.store import Vault


@pytest.mark.parametrize(
    ("port", "part"),
    [
        (ports.VaultPort, Vault),
        (ports.RecorderPort, Recorder),
        (ports.RulesPort, EgressRules),
        (ports.ApprovalsPort, Approvals),
        (ports.LockdownPort, Lockdown),
    ],
)
def test_the_real_part_has_each_method_of_its_port(port: type, part: type) -> None:
    wanted = [name for name, value in vars(port).items() if inspect.isfunction(value) and not name.startswith("_")]
    assert wanted
    for name in wanted:
        assert inspect.iscoroutinefunction(getattr(part, name)) == inspect.iscoroutinefunction(getattr(port, name))
