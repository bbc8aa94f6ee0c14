from typing import Any

import pytest
from vault_page import ServedVaultPage as Page
from vault_page import page_text

from mycelos.wire.operator import AddRule, ListRules, SetWeb


def test_egress_rules_are_listed(signed_in: Page, operator_system: Any) -> None:
    assert "There is no rule" in page_text(signed_in.get("/rules"))
    operator_system.client.egress_rules(AddRule(method="GET", scheme="https", host="a.example", port=443))
    operator_system.client.egress_rules(SetWeb(enabled=True))
    shown = page_text(signed_in.get("/rules"))
    assert "https://a.example" in shown
    assert "every public host" in shown


def test_the_question_of_web_is_asked_until_it_is_answered_and_then_a_switch(
    signed_in: Page, operator_system: Any
) -> None:
    for path in ("/", "/rules"):
        assert "May agents read public web pages?" in page_text(signed_in.get(path))
    assert signed_in.submit("/rules/web", enabled="no").headers["location"] == f"{signed_in.home}/rules"
    assert operator_system.client.status().web == "off"
    assert "May agents read" not in page_text(signed_in.get("/"))
    assert "may not read public web pages" in page_text(signed_in.get("/rules"))
    signed_in.submit("/rules/web", enabled="yes")
    assert operator_system.client.status().web == "on"
    assert "Turn it off" in page_text(signed_in.get("/rules"))


def test_a_rule_is_added_for_each_method_and_removed_again(signed_in: Page, operator_system: Any) -> None:
    answer = signed_in.submit("/rules/add", host="http://a.example:8080", methods=["GET", "HEAD"])
    assert answer.headers["location"] == f"{signed_in.home}/rules"
    rules = operator_system.client.egress_rules(ListRules())
    assert [(rule.method, rule.scheme, rule.host, rule.port) for rule in rules] == [
        ("GET", "http", "a.example", 8080), ("HEAD", "http", "a.example", 8080),
    ]  # fmt: skip
    assert "http://a.example:8080" in page_text(signed_in.get("/rules"))
    assert signed_in.submit(f"/rules/{rules[0].id}/remove").status_code == 303
    assert operator_system.client.egress_rules(ListRules()) == rules[1:]
    assert signed_in.submit(f"/rules/{rules[0].id}/remove").status_code == 404
    changes = [entry["details"].get("changed") for entry in operator_system.events("egress.rule_changed")]
    assert changes == [["added"], None, ["added"], None, ["removed"], None, ["removed"], None]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"host": ""}, "host"),
        ({"host": "*.example"}, "host"),
        ({"host": "a.example/path"}, "host"),
        ({"host": "<script>"}, "host"),
        ({"host": "-"}, "host"),
        ({"methods": ["FETCH"]}, "methods"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_at_its_field(
    signed_in: Page, operator_system: Any, changes: dict[str, Any], field: str
) -> None:
    answer = signed_in.submit("/rules/add", **{"host": "a.example", "methods": ["GET"], **changes})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert "<script>" not in answer.text
    assert operator_system.client.egress_rules(ListRules()) == ()
