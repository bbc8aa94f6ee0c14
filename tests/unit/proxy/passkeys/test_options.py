from mycelos.proxy.passkeys.ceremony import RelyingParty, decode
from mycelos.proxy.passkeys.options import creation_options, request_options

VAULT_PAGE = RelyingParty.of("http://localhost:9101")


def test_a_new_key_must_know_its_owner_and_be_found_without_a_name() -> None:
    options = creation_options(VAULT_PAGE, bytes(32), "passkey_x", "laptop", [b"known"])
    assert options["rp"]["id"] == "localhost"
    assert decode(options["user"]["id"]) == b"passkey_x"
    assert options["user"]["displayName"] == "laptop"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["attestation"] == "none"
    assert [decode(known["id"]) for known in options["excludeCredentials"]] == [b"known"]
    assert {algorithm["alg"] for algorithm in options["pubKeyCredParams"]} == {-7, -8, -257}


def test_a_signature_demands_the_owner_and_names_keys_only_where_it_is_told_to() -> None:
    assert request_options(VAULT_PAGE, bytes(32))["allowCredentials"] == []
    options = request_options(VAULT_PAGE, b"x" * 32, [b"known"])
    assert options["userVerification"] == "required"
    assert decode(options["challenge"]) == b"x" * 32
    assert [decode(known["id"]) for known in options["allowCredentials"]] == [b"known"]
