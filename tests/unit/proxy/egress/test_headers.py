from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.headers import (
    HOP_BY_HOP,
    MAXIMUM_HEADERS,
    MAXIMUM_NAME,
    MAXIMUM_VALUE,
    WITH_CREDENTIAL,
    outgoing,
    redact_query,
    returned,
)
from mycelos.wire.problems import ProblemCode, Refusal

CALLERS = [
    b"authorization", b"cookie", b"x-api-key", b"proxy-authorization", b"x-http-method-override", b"range",
    b"if-range", b"accept-encoding", b"host", b"content-length", b"transfer-encoding", b"connection", b"te",
    b"upgrade", b"expect", b"x-forwarded-for", b"forwarded", b"x-original-url", b"mycelos-credential",
    b"Mycelos-Anything", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-anything", b"X_Forwarded_Host",
    b"x-host", b"x-original-host", b"x-rewrite-url", b"x-envoy-original-path", b"x-http-method",
    b"x-method-override", b"x_http_method_override", b"content_length", b"Transfer.Encoding", b"http_host",
    b"proxy", b"true-client-ip", b"request-range", b"max-forwards", b"api-key", b"private-token", b"x-auth-token",
    b"x-goog-api-key", b"x-vault-token", b"x-amz-security-token", b"x-access-token", b"x-csrf-token", b"X_API_Key",
    b"dd-application-key", b"x-hub-signature",
]  # fmt: skip


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("with_credential", [True, False])
def test_what_signs_in_frames_or_routes_never_goes_out(name: bytes, with_credential: bool) -> None:
    sent = dict(outgoing([(name, b"callers-own")], with_credential=with_credential))
    assert sent.get(name.lower()) in {None, b"identity"}
    assert b"callers-own" not in sent.values()


def test_with_a_credential_only_the_allow_list_goes_out() -> None:
    given_headers = [
        (b"Accept", b"a/b"),
        (b"X-Amz-Security-Token", b"t"),
        (b"X-Custom", b"c"),
        (b"Anthropic-Version", b"1"),
    ]
    assert {name for name, _ in outgoing(given_headers, with_credential=True)} == {
        b"accept", b"anthropic-version", b"user-agent", b"accept-encoding",
    }  # fmt: skip
    assert (b"x-custom", b"c") in outgoing(given_headers, with_credential=False)


def test_the_allow_list_holds_nothing_that_signs_in_or_frames() -> None:
    assert not WITH_CREDENTIAL & (HOP_BY_HOP | set(CALLERS))


def test_headers_that_connection_names_are_dropped() -> None:
    given_headers = [(b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-stays", b"2")]
    assert (b"x-hop", b"1") not in outgoing(given_headers, with_credential=False)
    assert (b"x-stays", b"2") in outgoing(given_headers, with_credential=False)


def test_answers_are_asked_for_unencoded() -> None:
    assert dict(outgoing([(b"Accept-Encoding", b"gzip")], with_credential=False))[b"accept-encoding"] == b"identity"


@pytest.mark.parametrize(
    "bad", [(b"x", b"a\r\nb"), (b"x", b"a\0"), (b"x y", b"a"), (b"", b"a"), (b"x:", b"a"), (b"x", b"a" * 9000)]
)
def test_a_name_or_value_that_no_header_can_have_is_refused(bad: tuple[bytes, bytes]) -> None:
    for with_credential in (True, False):
        with pytest.raises(Refusal) as caught:
            outgoing([bad], with_credential=with_credential)
        assert caught.value.problem.code is ProblemCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("just", "more", "limit"),
    [
        ([(b"a", b"b")] * MAXIMUM_HEADERS, [(b"a", b"b")] * (MAXIMUM_HEADERS + 1), MAXIMUM_HEADERS),
        ([(b"a" * MAXIMUM_NAME, b"b")], [(b"a" * (MAXIMUM_NAME + 1), b"b")], MAXIMUM_NAME),
        ([(b"a", b"b" * MAXIMUM_VALUE)], [(b"a", b"b" * (MAXIMUM_VALUE + 1))], MAXIMUM_VALUE),
    ],
)
def test_headers_within_a_limit_go_out_and_beyond_it_the_refusal_names_it(
    just: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]], limit: int
) -> None:
    assert outgoing(just, with_credential=False)[: len(just)] == just
    with pytest.raises(Refusal) as caught:
        outgoing(more, with_credential=False)
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert str(limit) in caught.value.problem.detail


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=5))
def test_whatever_comes_no_line_break_goes_out(given_headers: list[tuple[bytes, bytes]]) -> None:
    try:
        sent = outgoing(given_headers, with_credential=False)
    except Refusal:
        return
    for name, value in sent:
        assert not any(character in name + value for character in b"\r\n\0")


def test_cookies_and_queries_of_locations_come_back_only_where_the_binding_says_so() -> None:
    upstream = [(b"Set-Cookie", b"a=b"), (b"Location", b"https://x.example/cb?code=1#f"), (b"X", b"y")]
    assert returned(upstream, set_cookie="drop", location_query="redact") == [
        (b"location", b"https://x.example/cb"),
        (b"x", b"y"),
    ]
    assert returned(upstream, set_cookie="keep", location_query="keep") == [
        (b"set-cookie", b"a=b"),
        (b"location", b"https://x.example/cb?code=1#f"),
        (b"x", b"y"),
    ]


def test_framing_and_mycelos_headers_of_an_upstream_do_not_come_back() -> None:
    upstream = [
        (b"transfer-encoding", b"chunked"), (b"content-length", b"3"), (b"content-encoding", b"gzip"),
        (b"connection", b"x-hop"), (b"x-hop", b"1"), (b"mycelos-refused", b"ssrf_blocked"), (b"alt-svc", b"h3"),
    ]  # fmt: skip
    assert returned(upstream, set_cookie="keep", location_query="keep") == []


def test_a_link_header_loses_its_queries_and_keeps_its_parameters() -> None:
    link = b'<https://a.example/x?a=1,2;token=3>; rel="next", <https://a.example/y#z>; rel="last"'
    kept = b'<https://a.example/x>; rel="next", <https://a.example/y>; rel="last"'
    assert redact_query(link, bracketed=True) == kept
    assert returned([(b"Link", link)], set_cookie="keep", location_query="redact") == [(b"link", kept)]


@pytest.mark.parametrize(
    "query", [b"?a=1;code=x", b"?a=1,code=x", b"?a=>code=x", b"?a=b code=x", b"#code=x", b"?\ncode=x"]
)
def test_nothing_of_a_locations_query_comes_back_whatever_separates_its_parts(query: bytes) -> None:
    for name in (b"location", b"content-location", b"refresh"):
        upstream = [(name, b"https://a.example/x" + query)]
        assert returned(upstream, set_cookie="drop", location_query="redact") == [(name, b"https://a.example/x")]
