from __future__ import annotations

from egress_house import binding_for

from mycelos.proxy.egress.rules import EgressRule
from mycelos.proxy.operator_door.views import binding_details, credential_view, result_details, rule_details, rule_view
from mycelos.proxy.vault.records import Credential
from mycelos.wire.binding import Method

CREDENTIAL = Credential("cred_1", 2, "github", "mine", (binding_for(80),), "2026", "2027", None)
RULE = EgressRule("rule_1", "GET", "https", "a.example", 443, "2026")


def test_what_is_shown_of_a_credential_is_its_metadata() -> None:
    shown = credential_view(CREDENTIAL)
    assert (shown.id, shown.version, shown.service, shown.label) == ("cred_1", 2, "github", "mine")
    assert set(shown.__struct_fields__) == {
        "id", "version", "service", "label", "bindings", "created_at", "changed_at", "last_used_at",
        "parked_at",
    }  # fmt: skip


def test_the_record_names_where_a_credential_may_go_and_a_digest_of_the_rest() -> None:
    narrow = binding_for(443, scheme="https", host="b.example", methods=(Method.GET,), path=("v1",), confirm=True)
    details = binding_details("mine", (binding_for(80), narrow))
    assert details["hosts"] == ["http://127.0.0.1:80", "https://b.example:443"]
    assert details["paths"] == ["/", "/v1"]
    assert (details["confirm"], details["count"], details["label"]) == (True, 2, "mine")
    assert details["binding_digest"] != binding_details("mine", (binding_for(80),))["binding_digest"]
    assert "label" not in binding_details(None, (narrow,))


def test_a_rule_is_shown_and_recorded_as_it_is() -> None:
    assert rule_view(RULE).host == "a.example"
    assert rule_details(RULE) == {"method": "GET", "scheme": "https", "host": "a.example", "port": 443}


def test_the_record_names_what_a_change_has_made_and_nothing_of_anything_else() -> None:
    assert result_details(CREDENTIAL) == {"credential_id": "cred_1", "credential_version": 2}
    assert result_details(RULE) == {"rule_id": "rule_1"}
    assert result_details(object()) == {}
