from dataclasses import replace

import pytest

from mycelos.proxy.vault.demands import broken, demand_confirmed, demand_form, demand_injectable
from mycelos.proxy.vault.records import Credential
from mycelos.wire.problems import ProblemCode, Refusal

CREDENTIAL = Credential("cred_1", 1, "github", "", (), "2026", "2026", None)


def test_a_parked_credential_is_refused_with_the_way_out() -> None:
    demand_confirmed(CREDENTIAL)
    with pytest.raises(Refusal) as caught:
        demand_confirmed(replace(CREDENTIAL, parked_at="2026-11-26T12:00:00Z"))
    problem = caught.value.problem
    assert problem.code is ProblemCode.CREDENTIAL_UNKNOWN
    assert "2026-11-26T12:00:00Z" in problem.detail
    assert "mycelos credential confirm github" in problem.next


def test_a_broken_record_is_refused_with_the_way_out() -> None:
    problem = broken("github").problem
    assert problem.code is ProblemCode.VAULT_UNAVAILABLE
    assert problem.next.endswith("mycelos credential delete github")


@pytest.mark.parametrize("field", [{"service": "Git Hub"}, {"label": "a\nb"}, {"secret": "a\r\nb-canary"}])
def test_what_has_no_right_form_is_refused_by_its_field_and_not_quoted(field: dict[str, str]) -> None:
    demand_form(service="github", label="mine", secret="long-enough")
    with pytest.raises(Refusal) as caught:
        demand_form(**{"service": "github", **field})
    problem = caught.value.problem
    assert problem.code is ProblemCode.INVALID_REQUEST
    assert problem.detail.startswith(next(iter(field)))
    assert "canary" not in problem.detail


def test_a_secret_that_cannot_be_sent_where_it_is_bound_is_refused(binding) -> None:
    demand_injectable((binding(),), b"plain-enough")
    with pytest.raises(Refusal) as caught:
        demand_injectable((binding("b.example"),), "käse-und-brot".encode())
    assert "b.example" in caught.value.problem.detail
