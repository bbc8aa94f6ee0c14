from __future__ import annotations

import pytest

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.gateway.identity.start_check import check_before_listening


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.7", "203.0.113.5", "169.254.1.1", "fe80::1"])
def test_an_address_that_others_reach_needs_a_password(bind: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        check_before_listening(read_environment({"MYCELOS_BIND": bind}))
    for words in (bind, "MYCELOS_PASSWORD_HASH", "127.0.0.1"):
        assert words in str(error.value)
    assert check_before_listening(read_environment({"MYCELOS_BIND": bind, "MYCELOS_PASSWORD": "secret words"}))


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_none(bind: str) -> None:
    assert check_before_listening(read_environment({"MYCELOS_BIND": bind})) is None


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_a_short_password_stops_the_start_and_is_not_repeated(bind: str) -> None:
    for short in ("q#", "7 chars", "äöüäöüä"):
        with pytest.raises(ConfigurationError, match="shorter than 8 characters") as error:
            check_before_listening(read_environment({"MYCELOS_BIND": bind, "MYCELOS_PASSWORD": short}))
        assert short not in str(error.value)
    assert check_before_listening(read_environment({"MYCELOS_BIND": bind, "MYCELOS_PASSWORD": "8 chars!"}))


def test_a_bad_hash_stops_the_start_on_loopback_too() -> None:
    with pytest.raises(ConfigurationError):
        check_before_listening(read_environment({"MYCELOS_PASSWORD_HASH": "plain words"}))
