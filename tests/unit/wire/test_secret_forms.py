from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.wire.secret_forms import FORMS, MEANINGS, SHORTEST_FORM, secret_forms

SECRETS = st.one_of(
    st.binary(min_size=1, max_size=80),
    st.text(min_size=1, max_size=40, alphabet=st.characters(exclude_categories=["Cs"])).map(str.encode),
)


@given(SECRETS)
def test_each_family_names_only_forms_from_which_the_secret_can_be_read(secret: bytes) -> None:
    forms = secret_forms(secret)
    assert secret in forms
    assert len(set(forms)) == len(forms)
    assert all(form == secret or len(form) >= SHORTEST_FORM for form in forms)
    assert bytes.fromhex(FORMS["hexadecimal"](secret)[0].decode()) == secret


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7))
def test_a_secret_inside_longer_base64_is_found_at_each_alignment(secret: bytes, before: bytes, after: bytes) -> None:
    forms = FORMS["base64"](secret)
    assert any(form in base64.b64encode(before + secret + after) for form in forms)
    assert any(form in base64.urlsafe_b64encode(before + secret + after) for form in forms)


@pytest.mark.parametrize(
    "write",
    [
        lambda text: quote(text, safe=""),
        quote,
        quote_plus,
        lambda text: quote(quote(text, safe=""), safe=""),
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: json.dumps(json.dumps(text)),
        html.escape,
        lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
        lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
        lambda text: "".join(f"&#{ord(character)};" for character in text),
        lambda text: text.encode().hex(),
        repr,
        lambda text: repr(f'{text}"'),
        lambda text: repr(text.encode()),
        lambda text: repr(b"'" + text.encode()),
    ],
)
def test_what_usual_writers_make_of_a_secret_is_in_the_table(write: object) -> None:
    secret = "s3cr\"t&<key>'+/=~ünd\\more"
    written = write(secret).encode()  # type: ignore[operator]
    assert any(form in written for form in secret_forms(secret.encode()))


def test_each_family_is_explained() -> None:
    assert list(MEANINGS) == list(FORMS)


def test_utf_16_is_in_the_table() -> None:
    assert "ab-cd".encode("utf-16-le") in secret_forms(b"ab-cd")
    assert "ab-cd".encode("utf-16-be") in secret_forms(b"ab-cd")


def test_an_empty_secret_is_an_error_and_not_a_form_that_matches_everywhere() -> None:
    with pytest.raises(ValueError, match="empty"):
        secret_forms(b"")
