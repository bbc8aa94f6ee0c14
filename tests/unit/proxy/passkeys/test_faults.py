import pytest

from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused, demand
from mycelos.wire.problems import ProblemCode


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_has_a_sentence_and_a_next_step(fault: Fault) -> None:
    refused = PasskeyRefused(fault)
    assert refused.fault is fault
    assert refused.problem.code in {ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST}
    assert refused.problem.detail
    assert refused.problem.next


def test_a_demand_that_holds_passes() -> None:
    demand(True, Fault.ORIGIN)
    with pytest.raises(PasskeyRefused):
        demand(False, Fault.ORIGIN)
