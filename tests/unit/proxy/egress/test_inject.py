from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.inject import form_of, inject, refuse_stray_placeholder, same_form
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.binding import Basic, Bearer, Header, Injection, UrlPath
from mycelos.wire.problems import ProblemCode, Refusal

URL = parse_url("https://api.example.com/v1/things?x=1")
TEMPLATE = parse_url("https://api.example.com/bot{credential}/getMe")
FORMS: list[Injection] = [Bearer(), Basic("user"), Header("X-Api-Key")]


def test_each_form_puts_the_secret_where_it_says() -> None:
    assert inject(Bearer(), b"s3cret", URL) == (b"/v1/things?x=1", [(b"authorization", b"Bearer s3cret")])
    pair = base64.b64encode(b"user:s3cret")
    assert inject(Basic("user"), b"s3cret", URL) == (b"/v1/things?x=1", [(b"authorization", b"Basic " + pair)])
    assert inject(Header("X-Api-Key"), b"s3cret", URL) == (b"/v1/things?x=1", [(b"x-api-key", b"s3cret")])
    assert inject(UrlPath(), b"123:AA-bb", TEMPLATE) == (b"/bot123:AA-bb/getMe", [])


@pytest.mark.parametrize("bad", [b"a\r\nX: y", b"a\nb", b"a\0b", b"a\x7f", b"\x01"])
def test_a_line_break_or_nul_never_passes_in_any_form(bad: bytes) -> None:
    for form in FORMS:
        with pytest.raises(Refusal) as caught:
            inject(form, bad, URL)
        assert caught.value.problem.code is ProblemCode.INJECTION_REFUSED
        assert repr(bad) not in caught.value.problem.detail
    with pytest.raises(Refusal):
        inject(UrlPath(), bad, TEMPLATE)


@pytest.mark.parametrize("bad", [b"two words", "schlüssel".encode()])
def test_what_a_header_cannot_hold_as_it_is_is_refused(bad: bytes) -> None:
    for form in (Bearer(), Header("X-Api-Key")):
        with pytest.raises(Refusal):
            inject(form, bad, URL)
    assert inject(Basic("user"), bad, URL)


@given(st.binary(min_size=1, max_size=60))
def test_whatever_the_secret_the_host_and_the_rest_of_the_path_stay(secret: bytes) -> None:
    try:
        target, headers = inject(UrlPath(), secret, TEMPLATE)
    except Refusal:
        return
    assert headers == []
    split = urlsplit(b"https://api.example.com" + target)
    assert split.hostname == b"api.example.com"
    assert not split.query
    assert not split.fragment
    parts = target.split(b"/")
    assert len(parts) == 3
    assert unquote_to_bytes(parts[1]) == b"bot" + secret
    assert parts[2] == b"getMe"


@given(st.binary(min_size=1, max_size=60))
def test_whatever_the_secret_a_header_is_one_line(secret: bytes) -> None:
    for form in FORMS:
        try:
            _, headers = inject(form, secret, URL)
        except Refusal:
            continue
        assert len(headers) == 1
        assert not any(character in headers[0][1] for character in b"\r\n\0")


@pytest.mark.parametrize(
    "secret", [b".", b"..", b"", b"../admin", b"a/../../admin", b"a\\..\\admin", b"..;x", b".. ", b"/.."]
)
def test_a_secret_that_would_be_a_dot_segment_or_none_is_refused(secret: bytes) -> None:
    with pytest.raises(Refusal):
        inject(UrlPath(), secret, parse_url("https://api.example.com/{credential}/x"))


def test_a_secret_that_completes_a_dot_segment_is_refused_and_one_with_plain_slashes_is_not() -> None:
    with pytest.raises(Refusal):
        inject(UrlPath(), b".", parse_url("https://api.example.com/.{credential}/x"))
    target, _ = inject(UrlPath(), b"T0/B0/a..b", parse_url("https://api.example.com/{credential}/x"))
    assert target == b"/T0%2FB0%2Fa..b/x"


def test_an_empty_secret_is_refused_in_any_form() -> None:
    for form in FORMS:
        with pytest.raises(Refusal):
            inject(form, b"", URL)


def test_a_placeholder_without_its_form_and_a_form_without_its_placeholder_are_refused() -> None:
    with pytest.raises(Refusal):
        inject(Bearer(), b"s3cret", TEMPLATE)
    with pytest.raises(Refusal):
        inject(UrlPath(), b"s3cret", URL)
    with pytest.raises(Refusal):
        inject(UrlPath(), b"s3cret", parse_url("https://api.example.com/{credential}/{credential}"))


@pytest.mark.parametrize(
    ("url", "headers", "body"),
    [
        ("https://a.example/?t={credential}", [], None),
        ("https://a.example/?t=%7Bcredential%7D", [], None),
        ("https://a.example/?t=%257Bcredential%257D", [], None),
        ("https://{credential}.example/", [], None),
        ("https://a.example/#{credential}", [], None),
        ("https://a.example/", [("x-token", "{credential}")], None),
        ("https://a.example/", [("{credential}", "x")], None),
        ("https://a.example/", [("x-token", "{ CREDENTIAL }")], None),
        ("https://a.example/", [], b'{"token": "{credential}"}'),
        ("https://a.example/", [], b'{"token": "\\u007bcredential}"}'),
        ("https://a.example/{credential}/", [], None),
    ],
)
def test_a_placeholder_anywhere_but_in_the_path_is_refused(
    url: str, headers: list[tuple[str, str]], body: bytes | None
) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_stray_placeholder(url, headers, body, in_path=False)
    assert caught.value.problem.code is ProblemCode.INJECTION_REFUSED


def test_the_placeholder_in_the_path_passes_where_one_belongs_and_nowhere_else() -> None:
    refuse_stray_placeholder("https://a.example/bot{credential}/x", [("a", "b")], b"{}", in_path=True)
    with pytest.raises(Refusal):
        refuse_stray_placeholder("https://a.example/bot{credential}/x?y={credential}", [], None, in_path=True)
    with pytest.raises(Refusal):
        refuse_stray_placeholder("https://{credential}/bot{credential}/x", [], None, in_path=True)


def test_the_callers_form_is_compared_with_the_bindings() -> None:
    assert [form_of(form) for form in (*FORMS, UrlPath())] == ["bearer", "basic:user", "header:X-Api-Key", "url_path"]
    assert same_form("header:x-api-key", Header("X-Api-Key"))
    assert same_form("basic:user", Basic("user"))
    for wrong in ("Bearer", "basic:other", "header:x-other", "url_path", ""):
        assert not any(same_form(wrong, form) for form in FORMS)
