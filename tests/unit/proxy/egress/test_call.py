from __future__ import annotations

import pytest

from mycelos.proxy.egress.call import Grant, checked_method
from mycelos.proxy.egress.rules import EgressRule
from mycelos.wire.problems import ProblemCode, Refusal


def test_only_methods_that_a_binding_can_name_pass() -> None:
    assert checked_method("GET") == "GET"
    for text in ("get", "TRACE", "CONNECT", "GET ", "G\r\nET", ""):
        with pytest.raises(Refusal) as caught:
            checked_method(text)
        assert caught.value.problem.code is ProblemCode.METHOD_NOT_ALLOWED


def test_a_grant_by_the_rule_for_every_host_is_one_of_the_web() -> None:
    def by_rule(host: str) -> Grant:
        return Grant(None, None, EgressRule("rule_x", "GET", "https", host, 443, ""))

    assert by_rule("*").is_web
    assert not by_rule("a.example").is_web
    assert not Grant(None, None, None).is_web
