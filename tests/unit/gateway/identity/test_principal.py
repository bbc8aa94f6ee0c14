from __future__ import annotations

import pytest

from mycelos.gateway.identity.principal import Principal, SignIn, principal_of, require_principal
from mycelos.wire.problems import ProblemCode, Refusal


def test_the_principal_is_found_in_the_scope() -> None:
    principal = Principal(SignIn.SESSION, "sess_1", "secret-token")
    scope = {"state": {"principal": principal}}
    assert principal_of(scope) is principal
    assert require_principal(scope) is principal
    assert "secret-token" not in repr(principal)


@pytest.mark.parametrize(
    "scope", [{}, {"state": {}}, {"state": {"principal": None}}, {"state": {"principal": "owner"}}]
)
def test_nobody_is_nobody(scope: dict[str, object]) -> None:
    assert principal_of(scope) is None
    with pytest.raises(Refusal) as refused:
        require_principal(scope)
    assert refused.value.problem.code is ProblemCode.UNAUTHORIZED
