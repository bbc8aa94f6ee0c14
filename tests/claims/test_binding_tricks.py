"""A secret is injected only where its binding is enforced: a property of what leaves, and each known trick by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from binding_world import faults, send
from egress_house import call_for
from hostile_urls import PIECES, PORTS, QUERIES, USERS, hosts
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mycelos.proxy.egress import binding_check, headers
from mycelos.wire.binding import Basic, Bearer, Binding, Header, Method, ResponseRule, UrlPath

SECRET = b"ghp_16C7e42F292c6912E7710c838347Ae178B4a"
BASE = "https://api.example.com/repos/mine"
BINDING = Binding(
    v=1,
    scheme="https",
    host="api.example.com",
    port=443,
    methods=(Method.GET, Method.POST),
    path=("repos", "mine"),
    query="any",
    inject=Bearer(),
    response=ResponseRule("drop", "redact"),
    confirm=False,
    quota=None,
)
KEYED = {"query": ("state", "page")}

# The trick: URL, what else the request has, what the binding has otherwise, and what becomes of it: the code of the
# refusal, or None where it leaves and the other end sees nothing of the trick.
TRICKS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str | None]] = {
    "prefix_without_slash": (f"{BASE}2", {}, {}, "binding_violation"),
    "prefix_cut_short": ("https://api.example.com/repos/min", {}, {}, "binding_violation"),
    "dot_segments": (f"{BASE}/../other", {}, {}, "binding_violation"),
    "dot_segments_back_inside": (f"{BASE}/../mine/./x", {}, {}, None),
    "dot_segments_above_the_root": (
        "https://api.example.com/../../repos/mine/../../admin",
        {},
        {},
        "binding_violation",
    ),
    "encoded_dot": (f"{BASE}/%2e%2e/other", {}, {}, "invalid_request"),
    "encoded_slash": (f"{BASE}%2f..%2fother", {}, {}, "invalid_request"),
    "double_encoding": (f"{BASE}/%252e%252e/other", {}, {}, "invalid_request"),
    "double_encoding_in_pieces": (f"{BASE}/%25%32%65%25%32%65/other", {}, {}, "invalid_request"),
    "backslash": (f"{BASE}/..\\other", {}, {}, "ssrf_blocked"),
    "encoded_backslash": (f"{BASE}/..%5cother", {}, {}, "invalid_request"),
    "semicolon_parameters": (f"{BASE}/..;a=b/other", {}, {}, "invalid_request"),
    "semicolon_in_the_prefix": ("https://api.example.com/repos;a=b/mine", {}, {}, "binding_violation"),
    "session_in_semicolon_parameters": (f"{BASE}/x;jsessionid=attacker", {}, {}, "binding_violation"),
    "double_slash": ("https://api.example.com//repos/mine", {}, {}, "invalid_request"),
    "double_slash_in_the_prefix": ("https://api.example.com/repos//mine", {}, {}, "binding_violation"),
    "double_slash_and_dots": (f"{BASE}//../../other", {}, {}, "binding_violation"),
    "case_of_path": ("https://api.example.com/Repos/mine", {}, {}, "binding_violation"),
    "trailing_dot_host": ("https://api.example.com./repos/mine", {}, {}, "ssrf_blocked"),
    "trailing_dots_and_spaces": (f"{BASE}/..%20/other", {}, {}, "invalid_request"),
    "unicode_normalisation": (f"{BASE}/\uff0e\uff0e/other", {}, {}, "invalid_request"),
    "unicode_two_dot_leader": (f"{BASE}/%E2%80%A5/other", {}, {}, "invalid_request"),
    "unicode_slash": (f"{BASE}\uff0fother", {}, {}, "invalid_request"),
    "unicode_host": ("https://\u24d0pi.example.com/repos/mine", {}, {}, "ssrf_blocked"),
    "overlong_utf8": (f"{BASE}/%c0%ae%c0%ae/other", {}, {}, "invalid_request"),
    "null_byte": (f"{BASE}%00/../../other", {}, {}, "invalid_request"),
    "null_byte_in_query": (f"{BASE}?state%00access_token=x", {}, {}, "invalid_request"),
    "line_break": (f"{BASE}/x\r\nHost: evil.example", {}, {}, "ssrf_blocked"),
    "encoded_line_break": (f"{BASE}/x%0d%0aHost:evil.example", {}, {}, "invalid_request"),
    "method_unbound": (BASE, {"method": "DELETE"}, {}, "binding_violation"),
    "method_in_lower_case": (BASE, {"method": "delete"}, {}, "method_not_allowed"),
    "method_with_a_space": (BASE, {"method": "GET /admin HTTP/1.1\r\nX:"}, {}, "method_not_allowed"),
    "method_trace": (BASE, {"method": "TRACE"}, {}, "method_not_allowed"),
    "method_override_header": (BASE, {"headers": [(b"X-HTTP-Method-Override", b"DELETE")], "method": "POST"}, {}, None),
    "method_override_header_with_underscores": (BASE, {"headers": [(b"X_HTTP_Method_Override", b"DELETE")]}, {}, None),
    "method_override_query": (f"{BASE}?_method=DELETE", {"method": "POST"}, {}, "binding_violation"),
    "method_override_query_mangled": (f"{BASE}?.method=DELETE", {"method": "POST"}, {}, "binding_violation"),
    # Documented in docs/adr/0005: a body is the caller's content. What a service lets a POST do, a bound POST does.
    "method_override_body_form": (
        BASE,
        {
            "method": "POST",
            "body": b"_method=DELETE",
            "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        },
        {},
        None,
    ),
    "query_key_of_the_callers": (f"{BASE}?access_token=attacker", {}, {}, "binding_violation"),
    "query_key_encoded": (f"{BASE}?%61ccess_token=attacker", {}, {}, "binding_violation"),
    "query_key_encoded_twice": (f"{BASE}?%2561ccess_token=attacker", {}, {}, "binding_violation"),
    "query_key_mangled": (f"{BASE}?access[token=attacker", {}, {}, "binding_violation"),
    "query_key_pollution": (f"{BASE}?state=open&state=closed&admin=1", {}, KEYED, "binding_violation"),
    "query_key_pollution_with_semicolons": (f"{BASE}?state=open;admin=1", {}, KEYED, "binding_violation"),
    "query_key_pollution_with_ampersand_entities": (f"{BASE}?state=open&amp;admin=1", {}, KEYED, "binding_violation"),
    "query_where_none_may_be": (f"{BASE}?", {}, {"query": "none"}, "binding_violation"),
    "query_in_the_path": (f"{BASE}%3Fadmin=1", {}, {"query": "none"}, "binding_violation"),
    "host_header": (BASE, {"headers": [(b"Host", b"evil.example")]}, {}, None),
    "host_header_with_underscore": (BASE, {"headers": [(b"HTTP_HOST", b"evil.example")]}, {}, None),
    "absolute_form": (f"{BASE}/https://evil.example/x", {}, {}, None),
    "absolute_form_alone": ("https://evil.example/https://api.example.com/repos/mine", {}, {}, "binding_violation"),
    "authority_in_user_information": ("https://api.example.com@evil.example/repos/mine", {}, {}, "ssrf_blocked"),
    "authority_in_fragment": ("https://evil.example#@api.example.com/repos/mine", {}, {}, "binding_violation"),
    "other_port": ("https://api.example.com:8443/repos/mine", {}, {}, "binding_violation"),
    "other_scheme": ("http://api.example.com:443/repos/mine", {}, {}, "binding_violation"),
    "longer_host": ("https://api.example.com.evil.example/repos/mine", {}, {}, "binding_violation"),
    "subdomain": ("https://x.api.example.com/repos/mine", {}, {}, "binding_violation"),
    "forwarded_host": (
        BASE,
        {"headers": [(b"X-Forwarded-Host", b"evil.example"), (b"Forwarded", b"host=evil.example")]},
        {},
        None,
    ),
    "x_original_url": (BASE, {"headers": [(b"X-Original-URL", b"/admin"), (b"X-Rewrite-URL", b"/admin")]}, {}, None),
    "connection_names_a_header": (BASE, {"headers": [(b"Connection", b"authorization, host")]}, {}, None),
    "callers_own_authorization": (
        BASE,
        {"headers": [(b"Authorization", b"Bearer attacker"), (b"Cookie", b"a=b")]},
        {},
        None,
    ),
    "framing_headers": (
        BASE,
        {"headers": [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], "method": "POST"},
        {},
        None,
    ),
    "line_break_in_a_header": (BASE, {"headers": [(b"Accept", b"a\r\nHost: evil.example")]}, {}, "invalid_request"),
    "other_form": (BASE, {"inject_as": "header:X-Copy"}, {}, "binding_violation"),
    "placeholder_elsewhere": (f"{BASE}/{{credential}}", {}, {}, "binding_violation"),
    "placeholder_in_the_query": (f"{BASE}?a=%7Bcredential%7D", {}, {}, "injection_refused"),
}
# Without the binding, another form than its own is still not the caller's choice.
BY_THE_BINDING = [name for name, trick in TRICKS.items() if trick[3] == "binding_violation" and name != "other_form"]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def attempt(runner: asyncio.Runner, name: str) -> tuple[set[str] | None, str | None]:
    """What is wrong with what left, None where nothing did; and the refusal's code."""
    url, request, otherwise, _ = TRICKS[name]
    binding = msgspec.structs.replace(BINDING, **otherwise)
    call = call_for(url, **({"method": "GET", "service": "service"} | request))
    sent, refusal = runner.run(send(binding, SECRET, call))
    code = None if refusal is None else refusal.problem.code.value
    return None if sent is None else faults(binding, SECRET, sent), code


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_is_refused_or_the_other_end_sees_nothing_of_it(name: str, runner: asyncio.Runner) -> None:
    expected = TRICKS[name][3]
    assert attempt(runner, name) == ((set(), None) if expected is None else (None, expected))


@pytest.mark.parametrize("name", BY_THE_BINDING)
def test_without_the_binding_the_same_trick_takes_the_secret_along(
    name: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding_check, "violations", lambda _binding, _request: ())
    wrong, code = attempt(runner, name)
    # What the injector refuses by itself has a second wall.
    assert wrong or code == "injection_refused"


def test_without_the_filter_the_callers_headers_ride_along(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "outgoing", lambda given, **_: [(name.lower(), value) for name, value in given])
    for name in ("method_override_header", "host_header", "forwarded_host", "x_original_url"):
        wrong, _ = attempt(runner, name)
        assert wrong, name
        assert "headers" in wrong or "host" in wrong


# Bindings and requests at random.

SEGMENTS = ["repos", "mine", "a", "b", "A", "v1.0", "@me", "a;b", "x:y", "...a"]
HARMLESS = ["state", "page", "a", "q[]", "b.c"]
KEYS = ["state", "access_token", "_method", "key", "q[]", "Access.Token", "acces%73_token"]
HEADERS = [
    (b"Accept", b"a/b"), (b"Host", b"evil.example"), (b"Authorization", b"Bearer x"), (b"Cookie", b"a=b"),
    (b"X-Api-Key", b"k"), (b"Content-Length", b"7"), (b"Transfer-Encoding", b"chunked"), (b"X-Key", b"mine"),
    (b"X-HTTP-Method-Override", b"PUT"), (b"X_Forwarded_Host", b"e"), (b"Connection", b"accept"),
    (b"Expect", b"100-continue"), (b"Mycelos-Credential", b"x"), (b"X-Custom", b"c"), (b"Origin", b"https://a.example"),
    (b"OpenAI-Organization", b"attacker"),
]  # fmt: skip
MALFORMED = [(b"Accept", b"x\r\ny: z"), (b"Accept", b"{credential}"), (b"a b", b"c"), (b"User-Agent", b"\x00")]

bindings = st.builds(
    Binding,
    v=st.just(1),
    scheme=st.sampled_from(["https", "https", "http"]),
    host=st.sampled_from(["api.example.com", "xn--bcher-kva.example", "9.9.9.9"]),
    port=st.sampled_from([443, 443, 80, 8443]),
    methods=st.lists(st.sampled_from(list(Method)), min_size=1, unique=True).map(tuple),
    path=st.lists(st.sampled_from(SEGMENTS), max_size=3).map(tuple),
    query=st.one_of(
        st.sampled_from(["none", "any"]), st.lists(st.sampled_from([*HARMLESS, "key"]), unique=True).map(tuple)
    ),
    inject=st.sampled_from([Bearer(), Bearer(), Basic("user"), Header("X-Key"), UrlPath()]),
    response=st.just(ResponseRule("drop", "redact")),
    confirm=st.just(False),
    quota=st.none(),
)
secrets = st.sampled_from(
    [
        SECRET,
        SECRET,
        SECRET,
        b"123:AA-bb",
        b"a/b+c==",
        b"two words",
        b"a\r\nHost: x",
        "schl\u00fcssel".encode(),
        b"/../..",
    ]
)


@st.composite
def requests(draw: st.DrawFn, binding: Binding) -> dict[str, Any]:
    """A request that the binding allows but for up to two parts, which are whatever an attacker may try."""
    parts = [
        "scheme",
        "user",
        "host",
        "port",
        "method",
        "prefix",
        "path",
        "query",
        "headers",
        "body",
        "form",
        "service",
    ]
    odd = {draw(st.sampled_from([*parts, "none"])), draw(st.sampled_from([*parts, *["none"] * len(parts)]))}

    def usually(part: str, usual: Any, otherwise: st.SearchStrategy[Any]) -> Any:
        return draw(otherwise) if part in odd else usual

    scheme = usually("scheme", binding.scheme, st.sampled_from(["http", "https", "HTTPS"]))
    user = usually("user", "", st.sampled_from(USERS))
    near = st.sampled_from([binding.host.upper(), f"x.{binding.host}", f"{binding.host}.evil.example", "9.9.9.8"])
    host = usually("host", binding.host, st.one_of(near, hosts.map(str)))
    port = usually(
        "port",
        f":{binding.port}",
        st.one_of(st.sampled_from([":80", ":443", ":8443"]), st.sampled_from(PORTS).map(str)),
    )
    path = list(binding.path)
    if isinstance(binding.inject, UrlPath):
        path.append(usually("path", "bot{credential}", st.sampled_from(["x", "%7Bcredential%7D", "a{credential}b"])))
    path += draw(st.lists(st.sampled_from(SEGMENTS), max_size=2))
    if "prefix" in odd:
        spoiled = draw(st.integers(0, len(path)))
        path[spoiled : spoiled + draw(st.integers(0, 1))] = draw(
            st.lists(st.sampled_from([*PIECES, *SEGMENTS]), max_size=3)
        )
    if "path" in odd and draw(st.booleans()):
        # As often as it takes to climb above the prefix.
        path += [draw(st.sampled_from(PIECES))] * draw(st.integers(1, 4))
    elif "path" in odd and path:
        path[draw(st.integers(0, len(path) - 1))] += draw(
            st.sampled_from(["x", ".", "%2e", ";a", "%2f..", "\\..", "/..", "//"])
        )
    keys = draw(st.lists(st.sampled_from(binding.query if isinstance(binding.query, tuple) else HARMLESS), max_size=2)
                if binding.query else st.just([]))  # fmt: skip
    plain = "?" + "&".join(f"{key}=1" for key in keys) if keys and binding.query != "none" else ""
    free = st.tuples(st.sampled_from("&;"), st.lists(st.sampled_from([*KEYS, *HARMLESS]), max_size=3))
    free_query = free.map(lambda drawn: "?" + drawn[0].join(drawn[1]))
    query = usually("query", plain, st.one_of(free_query, st.sampled_from(QUERIES)))
    return {
        "url": f"{scheme}://{user}{host}{port}/{'/'.join(path)}{query}",
        "method": usually(
            "method", draw(st.sampled_from(binding.methods)).value, st.sampled_from([*Method, "get", "TRACE"])
        ),
        "headers": draw(st.lists(st.sampled_from(HEADERS), max_size=3))
        + usually("headers", [], st.sampled_from(MALFORMED).map(lambda header: [header])),
        "body": usually("body", None, st.sampled_from([b"", b"x=1", b"{credential}"])),
        "inject_as": usually(
            "form", None, st.sampled_from(["bearer", "basic:user", "header:x-key", "url_path", "header:Host"])
        ),
        "door": draw(st.sampled_from(["http", "forward"])),
        "service": usually("service", "service", st.sampled_from(["other", None])),
    }


def search(runner: asyncio.Runner, examples: int, **options: Any) -> dict[str, int]:
    """Look for a request that takes the secret where a field of its binding does not agree."""
    seen = {"tried": 0, "sent": 0}

    @given(bindings.flatmap(lambda binding: st.tuples(st.just(binding), requests(binding))), secrets)
    @settings(max_examples=examples, **options)
    def holds(pair: tuple[Binding, dict[str, Any]], secret: bytes) -> None:
        binding, request = pair
        sent, _ = runner.run(send(binding, secret, call_for(**request)))
        seen["tried"] += 1
        if sent is not None:
            seen["sent"] += 1
            assert faults(binding, secret, sent) == set(), (binding, request, sent)

    holds()
    return seen


def test_whatever_is_injected_went_where_every_field_of_its_binding_agrees(runner: asyncio.Runner) -> None:
    seen = search(runner, min(settings().max_examples * 8, 5_000))
    # A property over what is sent says nothing where nothing is.
    assert seen["sent"] * 8 > seen["tried"], seen


@pytest.mark.parametrize("field", ["scheme", "host", "port", "methods", "path", "query"])
def test_with_one_field_of_the_binding_not_asked_the_search_finds_a_secret_astray(
    field: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = binding_check.violations
    monkeypatch.setattr(
        binding_check, "violations", lambda *asked: tuple(name for name in whole(*asked) if name != field)
    )
    with pytest.raises(AssertionError):
        # It ends at the first that it finds.
        search(runner, 4_000, phases=[Phase.generate], report_multiple_bugs=False)
