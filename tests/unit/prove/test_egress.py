from __future__ import annotations

import ipaddress

import pytest

from mycelos.prove import egress
from mycelos.prove.name_server import NameServer, RecordType
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin
from mycelos.prove.upstream import Upstream


def test_every_address_and_name_is_refused_by_the_code_as_it_is_and_on_record():
    findings = egress.attack()
    assert [finding for finding in findings if not finding.held] == []
    assert len(findings) == len(egress.REFUSED) + len(egress.NAMES) + 4


def test_the_table_holds_each_form_once_and_none_that_is_public():
    assert len(set(egress.REFUSED)) == len(egress.REFUSED) >= 25


def test_each_name_has_an_address_that_must_not_be_reached():
    for name, records in egress.NAMES:
        addresses = [record.value for record in records if record.type is not RecordType.CNAME]
        assert any(not ipaddress.ip_address(address).is_global for address in addresses), name
    assert len({name for name, _ in egress.NAMES}) == len(egress.NAMES)


def test_a_twin_that_reaches_nothing_at_all_shows_nothing(monkeypatch):
    monkeypatch.setattr(Twin, "use", lambda *_, **__: Answer(403, {"code": "ssrf_blocked"}))
    with pytest.raises(CannotShowError, match="would show nothing"):
        egress.attack()


def test_a_naive_client_is_led_to_the_private_listener():
    with Upstream() as private, NameServer(egress._answers()) as server:
        egress._demand_naive_client_is_led(server, private)
        assert len(private.requests) == 1
        assert "Host: naive.example.com" in private.requests[0]


def test_where_a_naive_client_is_not_led_astray_nothing_is_shown(monkeypatch):
    with Upstream() as private, NameServer({}) as server, pytest.raises(CannotShowError, match="naive client"):
        egress._demand_naive_client_is_led(server, private)


@pytest.mark.parametrize("asked", [0, 1])
def test_a_changing_name_that_was_refused_or_never_asked_for_shows_nothing(asked):
    class Refusing:
        def use(self, *_, **__):
            return Answer(403, {"code": "ssrf_blocked"} if asked else {"code": "resolution_failed"})

    with Upstream() as private, NameServer(egress._answers()) as server:
        server.asked[egress.REBINDING] = asked
        with pytest.raises(CannotShowError, match="second one"):
            egress._rebound(Refusing(), server, private)
