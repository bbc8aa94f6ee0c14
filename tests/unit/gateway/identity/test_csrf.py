from __future__ import annotations

import pytest

from mycelos.gateway.identity.csrf import check_form_token, form_token
from mycelos.gateway.identity.principal import Principal, SignIn
from mycelos.wire.problems import ProblemCode, Refusal


def test_each_session_has_its_own_token() -> None:
    assert form_token("a" * 43) != form_token("b" * 43)
    assert form_token("a" * 43) == form_token("a" * 43)
    assert "a" * 43 not in form_token("a" * 43)


def test_the_sessions_token_passes() -> None:
    check_form_token(Principal(SignIn.SESSION, "sess_1", "token"), "token")


@pytest.mark.parametrize(
    ("expected", "submitted"), [("token", ""), ("token", "tokeN"), ("token", "tökèn"), ("", ""), ("", "token")]
)
def test_every_other_token_is_refused(expected: str, submitted: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_form_token(Principal(SignIn.SESSION, "sess_1", expected), submitted)
    assert refused.value.problem.code is ProblemCode.FORBIDDEN
