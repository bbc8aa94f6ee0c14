from __future__ import annotations

import msgspec
import pytest

from mycelos.operator.client import OperatorClient
from mycelos.prove.approvals import misuse_approvals
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.operator import StoreCredential


def attempt(*, confirm: bool):
    with Upstream() as bound, Twin(bound.port) as twin:
        binding = msgspec.structs.replace(twin.binding(bound.port), confirm=confirm)
        twin.operator.store(StoreCredential(service="guarded", secret=f"{twin.canary}-2", bindings=(binding,)))
        return list(misuse_approvals(twin, bound, "guarded"))


def test_every_misuse_of_an_approval_is_refused_by_the_code_as_it_is():
    findings = attempt(confirm=True)
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == 9


def test_a_credential_that_goes_without_anybody_s_word_is_seen():
    (finding,) = attempt(confirm=False)
    assert not finding.held
    assert finding.happened.endswith("1 arrived")


@pytest.mark.parametrize(
    ("method", "shown"), [("approvals", "not shown the request"), ("decide_approval", "does not arrive")]
)
def test_an_operator_who_sees_or_decides_nothing_shows_nothing(monkeypatch, method, shown):
    monkeypatch.setattr(OperatorClient, method, lambda *_: ())
    with pytest.raises(CannotShowError, match=shown):
        attempt(confirm=True)
