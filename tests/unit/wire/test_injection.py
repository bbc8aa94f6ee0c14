from __future__ import annotations

import pytest

from mycelos.wire.binding import Basic, Bearer, Header, Injection, UrlPath
from mycelos.wire.injection import SecretNotInjectableError, check_injectable

EVERYWHERE: list[Injection] = [Bearer(), Header(name="X-Key"), Basic(name="me"), UrlPath()]


@pytest.mark.parametrize("injection", EVERYWHERE)
def test_a_token_fits_everywhere_and_a_control_character_nowhere(injection: Injection) -> None:
    check_injectable(injection, b"ghp-7Qm2xV9sLr")
    for secret in (b"a\nb", b"a\rb", b"a\x00b", b"a\x7fb"):
        with pytest.raises(SecretNotInjectableError, match="control character"):
            check_injectable(injection, secret)
    with pytest.raises(SecretNotInjectableError, match="empty"):
        check_injectable(injection, b"")


@pytest.mark.parametrize("secret", ["pässwörd".encode(), b"two words", b"\xff" * 8])
def test_a_header_carries_ascii_without_spaces_alone(secret: bytes) -> None:
    for injection in EVERYWHERE[:2]:
        with pytest.raises(SecretNotInjectableError, match="cannot stand in a header"):
            check_injectable(injection, secret)
    for injection in EVERYWHERE[2:]:
        check_injectable(injection, bytearray(secret))
