import json
from typing import Any

import pytest
from operator_requests import ask, bearer, refusal

from mycelos.wire.operator import PageRefusal
from mycelos.wire.problems import ProblemCode


def test_a_link_is_good_once_and_both_tries_are_on_record(operator_system: Any) -> None:
    created = operator_system.client.create_link()
    operator_system.client.redeem_link(created.code)
    problem = refusal(operator_system.client.redeem_link, created.code)
    assert problem.code is ProblemCode.FORBIDDEN
    assert "mycelos open --operator" in problem.next
    operator_system.client.end_sessions()
    for name in ("link_created", "login", "login_failed", "logout"):
        (entry,) = operator_system.events(f"operator.{name}")
        assert entry["source"] == "operator"
        assert created.code not in json.dumps(entry)


def test_what_the_vault_page_refused_is_put_on_record(operator_system: Any) -> None:
    operator_system.client.record_refusal(PageRefusal(method="POST", status=403, attempts=3))
    (entry,) = operator_system.events("operator.refused")
    assert (entry["source"], entry["principal"], entry["outcome"]) == ("operator", "", "refused")
    assert entry["details"] == {"method": "POST", "status": 403, "attempts": 3}


@pytest.mark.parametrize("change", [{"method": "POST /x"}, {"status": 200}, {"attempts": 0}, {"path": "/x"}])
def test_a_refusal_in_another_form_is_none(operator_system: Any, change: dict[str, Any]) -> None:
    body = {"method": "POST", "status": 403, "attempts": 1, **change}
    answer = ask(operator_system, "POST", "/session/refused", body, Authorization=bearer(operator_system))
    assert answer[0] == 400
    assert operator_system.events("operator.refused") == []
