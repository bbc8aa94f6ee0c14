from __future__ import annotations

import pytest
import sqlalchemy as sa
from egress_house import House

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.tables import EGRESS_RULES, OPERATOR_SETTINGS
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Method
from mycelos.wire.operator import WebAnswer
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


async def test_a_rule_allows_exactly_its_method_scheme_host_and_port(house: House) -> None:
    rule = await house.rules.add(Method.GET, "https", "API.Example.com", 443)
    assert house.rules.match("GET", "https", "api.example.com", 443) == rule
    for other in (
        ("POST", "https", "api.example.com", 443), ("GET", "http", "api.example.com", 443),
        ("GET", "https", "x.api.example.com", 443), ("GET", "https", "api.example.com", 8443),
    ):  # fmt: skip
        assert house.rules.match(*other) is None
    assert house.rules.names_port("api.example.com", 443)
    assert not house.rules.names_port("api.example.com", 80)


async def test_nothing_is_allowed_at_first_and_web_allows_reading_only(house: House) -> None:
    assert house.rules.list() == []
    await house.rules.set_web(enabled=True)
    assert house.rules.match("GET", "https", "anything.example", 443)
    assert house.rules.match("HEAD", "https", "anything.example", 443)
    assert house.rules.match("POST", "https", "anything.example", 443) is None
    assert house.rules.match("GET", "http", "anything.example", 80)
    assert house.rules.match("HEAD", "http", "anything.example", 80)
    assert house.rules.match("PUT", "http", "anything.example", 80) is None
    for scheme, port in (("https", 80), ("http", 443), ("https", 8443), ("http", 8080)):
        assert house.rules.match("GET", scheme, "anything.example", port) is None
    await house.rules.set_web(enabled=False)
    assert house.rules.list() == []


async def test_the_question_of_web_is_open_until_it_is_answered(layout: DataLayout) -> None:
    vault = Vault.open(layout, bytes(32))

    def answer() -> WebAnswer:
        return EgressRules.open(vault.database, vault.keys).web

    rules = EgressRules.open(vault.database, vault.keys)
    named = await rules.add(Method.GET, "https", "a.example", 443)
    assert (rules.web, answer()) == (WebAnswer.UNANSWERED, WebAnswer.UNANSWERED)
    for enabled, said in ((False, WebAnswer.OFF), (True, WebAnswer.ON), (True, WebAnswer.ON), (False, WebAnswer.OFF)):
        await rules.set_web(enabled=enabled)
        assert (rules.web, answer()) == (said, said)
        assert named in EgressRules.open(vault.database, vault.keys).list()
    assert rules.list() == [named]
    vault.close()


async def test_an_answer_that_was_altered_outside_is_a_no(layout: DataLayout) -> None:
    vault = Vault.open(layout, bytes(32))
    await EgressRules.open(vault.database, vault.keys).set_web(enabled=True)
    await vault.database.run(lambda connection: connection.execute(sa.update(OPERATOR_SETTINGS).values(value="On")))
    rules = EgressRules.open(vault.database, vault.keys)
    assert rules.web is WebAnswer.OFF
    assert rules.match("GET", "https", "anything.example", 443) is None
    await rules.set_web(enabled=True)
    assert EgressRules.open(vault.database, vault.keys).match("GET", "https", "anything.example", 443)
    vault.close()


async def test_rules_of_web_that_were_put_back_after_a_no_allow_nothing(layout: DataLayout) -> None:
    vault = Vault.open(layout, bytes(32))
    rules = EgressRules.open(vault.database, vault.keys)
    await rules.set_web(enabled=True)
    rows = vault.database.run_now(lambda connection: connection.execute(sa.select(EGRESS_RULES)).mappings().all())
    await rules.set_web(enabled=False)
    vault.database.run_now(lambda connection: connection.execute(EGRESS_RULES.insert(), [dict(row) for row in rows]))
    assert EgressRules.open(vault.database, vault.keys).list() == []
    vault.close()


async def test_a_yes_of_a_vault_from_before_the_question_still_counts(layout: DataLayout) -> None:
    vault = Vault.open(layout, bytes(32))
    await EgressRules.open(vault.database, vault.keys).set_web(enabled=True)
    vault.database.run_now(lambda connection: connection.execute(sa.delete(OPERATOR_SETTINGS)))
    assert EgressRules.open(vault.database, vault.keys).web is WebAnswer.ON
    vault.close()


async def test_a_disk_that_refuses_leaves_web_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_arguments: object) -> None:
        raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "The disk is full.", "Free some space.")

    await house.rules.set_web(enabled=True)
    monkeypatch.setattr(Database, "run", full)
    for enabled in (False, True):
        with pytest.raises(Refusal, match="vault_unavailable"):
            await house.rules.set_web(enabled=enabled)
        assert house.rules.match("GET", "https", "anything.example", 443) is None


async def test_rules_outlive_the_process_and_a_removed_one_does_not(layout: DataLayout) -> None:
    vault = Vault.open(layout, bytes(32))
    rules = EgressRules.open(vault.database, vault.keys)
    kept = await rules.add(Method.GET, "https", "a.example", 443)
    gone = await rules.add(Method.GET, "https", "b.example", 443)
    await rules.remove(gone.id)
    assert rules.match("GET", "https", "b.example", 443) is None
    vault.close()
    vault = Vault.open(layout, bytes(32))
    assert EgressRules.open(vault.database, vault.keys).list() == [kept]
    vault.close()


@pytest.mark.parametrize("column", ["host", "method", "port", "scheme"])
async def test_a_row_that_was_altered_outside_allows_nothing(layout: DataLayout, column: str) -> None:
    vault = Vault.open(layout, bytes(32))
    await EgressRules.open(vault.database, vault.keys).add(Method.GET, "https", "a.example", 443)
    value = {"host": "evil.example", "method": "POST", "port": 80, "scheme": "http"}[column]
    await vault.database.run(lambda connection: connection.execute(sa.update(EGRESS_RULES).values({column: value})))
    assert EgressRules.open(vault.database, vault.keys).list() == []
    vault.close()


@pytest.mark.parametrize("host", ["a_b", "user@a.example", "a.example/x", "0x7f.1", "a.example:80", "*", "*.a.example"])
async def test_a_host_that_is_not_one_exact_host_is_refused(house: House, host: str) -> None:
    with pytest.raises(Refusal) as caught:
        await house.rules.add(Method.GET, "https", host, 443)
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST


async def test_an_unknown_rule_cannot_be_removed(house: House) -> None:
    with pytest.raises(Refusal) as caught:
        await house.rules.remove("rule_unknown")
    assert caught.value.problem.code is ProblemCode.NOT_FOUND
