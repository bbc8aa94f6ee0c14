from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.credential_names import carries_credential


@pytest.mark.parametrize(
    "name",
    [
        "access_token", "api_key", "apikey", "api-key", "key", "auth", "authorization", "client_secret", "oauth_token",
        "password", "private_token", "secret", "sig", "signature", "token", "X-Amz-Credential", "X-Amz-Security-Token",
        "X-Amz-Signature", "X-Goog-Signature", "AWSAccessKeyId", "hapikey", "subscription-key", "jsessionid", "sudo",
        "X-Auth-Token", "X-Goog-Api-Key", "_method", "X-HTTP-Method-Override", "$httpMethod", "$httpHeaders",
    ],
)  # fmt: skip
def test_a_name_under_which_services_take_a_credential_or_a_method_is_known(name: str) -> None:
    assert carries_credential(name)
    assert carries_credential(name.upper())


@pytest.mark.parametrize(
    "name",
    ["access.token", "access token", "+access_token", "access_token[]", "access[token", "%61ccess_token",
     "acces%2573_token", "acce\u017fs_token", "\uff41ccess_token", "access_token%00", " _method", ".method", "[method",
     "accessToken", "%41CCESS-TOKEN"],
)  # fmt: skip
def test_a_spelling_that_a_lenient_server_takes_for_the_same_name_is_known(name: str) -> None:
    assert carries_credential(name)


@pytest.mark.parametrize(
    "name",
    ["", "page_token", "nextPageToken", "sync_token", "continuation_token", "idempotency-key", "sort_key", "author",
     "method", "payment_method", "keyword", "q", "state", "design", "mcp-session-id", "passenger", "user[name]"],
)  # fmt: skip
def test_a_name_that_only_looks_like_one_is_not(name: str) -> None:
    assert not carries_credential(name)


@given(st.sampled_from(["access_token", "api_key", "_method", "signature"]), st.integers(0, 3))
def test_escaping_a_name_any_number_of_times_hides_nothing(name: str, times: int) -> None:
    for _ in range(times):
        name = "".join(f"%{byte:02x}" for byte in name.encode()) if "%" not in name else quote(name, safe="")
    assert carries_credential(name)


@given(st.text(max_size=40))
def test_whatever_the_name_there_is_an_answer(name: str) -> None:
    assert carries_credential(name) in {True, False}
