from __future__ import annotations

import msgspec
import pytest

from mycelos.prove import passkeys, twin
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.operator import StoreCredential

NO_KEY_IS_TAKEN = """
from mycelos.proxy.passkeys import ceremony

ceremony.ALGORITHMS = ()
"""


def misuse():
    with Upstream() as bound, Twin(bound.port) as proxy:
        confirmed = msgspec.structs.replace(proxy.binding(bound.port), confirm=True)
        proxy.operator.store(StoreCredential(service="guarded", secret=f"{proxy.canary}-2", bindings=(confirmed,)))
        return list(passkeys.misuse_passkeys(proxy, bound, "guarded"))


def test_each_wrong_assertion_is_refused_and_the_right_one_is_taken():
    findings = misuse()
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 4 + len(passkeys._WRONG)


def test_a_twin_that_takes_no_passkey_at_all_shows_nothing(monkeypatch):
    monkeypatch.setattr(twin, "PROGRAM", NO_KEY_IS_TAKEN + twin.PROGRAM)
    with pytest.raises(CannotShowError, match="takes no passkey"):
        misuse()
