from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.binding_check import Request, Violation, choose, violations
from mycelos.proxy.egress.url import UrlError, parse_url
from mycelos.wire.binding import Bearer, Binding, Header, Method, ResponseRule, UrlPath
from mycelos.wire.problems import ProblemCode

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


def ask(url: str, method: str = "GET", inject_as: str | None = None) -> Request:
    return Request(method, parse_url(url), inject_as)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/repos/mine",
        "https://api.example.com/repos/mine/",
        "https://api.example.com/repos/mine/issues?state=open&page_token=x",
        "https://api.example.com/repos/./other/../mine/issues",
        "https://API.example.com:443/repos/mine/%69ssues",
    ],
)
def test_what_is_inside_the_binding_agrees_in_every_field(url: str) -> None:
    assert violations(BINDING, ask(url)) == ()
    assert choose((BINDING,), ask(url)) is BINDING


@pytest.mark.parametrize(
    ("url", "method", "inject_as", "field"),
    [
        ("http://api.example.com:443/repos/mine", "GET", None, "scheme"),
        ("https://evil.example/repos/mine", "GET", None, "host"),
        ("https://api.example.com.evil.example/repos/mine", "GET", None, "host"),
        ("https://xapi.example.com/repos/mine", "GET", None, "host"),
        ("https://api.example.com:8443/repos/mine", "GET", None, "port"),
        ("https://api.example.com/repos/mine", "DELETE", None, "methods"),
        ("https://api.example.com/repos/mine", "get", None, "methods"),
        ("https://api.example.com/repos", "GET", None, "path"),
        ("https://api.example.com/repos/mine2", "GET", None, "path"),
        ("https://api.example.com/repos/Mine", "GET", None, "path"),
        ("https://api.example.com/repos/mine/../other", "GET", None, "path"),
        ("https://api.example.com/x/../repos//mine", "GET", None, "path"),
        ("https://api.example.com/repos;x/mine", "GET", None, "path"),
        ("https://api.example.com/repos/mine?access_token=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine?a=1;access_token=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine?%61ccess_token=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine?_method=DELETE", "GET", None, "query"),
        ("https://api.example.com/repos/mine?access.token=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine?acces%2573_token=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine?a=1&amp;api_key=x", "GET", None, "query"),
        ("https://api.example.com/repos/mine/x;jsessionid=1", "GET", None, "path"),
        ("https://api.example.com/repos/mine/x;a=1;access%5Ftoken=x/y", "GET", None, "path"),
        ("https://api.example.com/repos/mine", "GET", "header:X-Key", "inject"),
        ("https://api.example.com/repos/mine", "GET", "basic:user", "inject"),
        ("https://api.example.com/repos/mine/{credential}", "GET", None, "inject"),
    ],
)
def test_each_field_alone_refuses(url: str, method: str, inject_as: str | None, field: str) -> None:
    assert violations(BINDING, ask(url, method, inject_as)) == (field,)
    with pytest.raises(Violation) as caught:
        choose((BINDING,), ask(url, method, inject_as))
    assert caught.value.problem.code is ProblemCode.BINDING_VIOLATION
    assert caught.value.fields == (field,)


def test_a_query_rule_is_none_or_exact_keys() -> None:
    none = msgspec.structs.replace(BINDING, query="none")
    keys = msgspec.structs.replace(BINDING, query=("state", "key"))
    base = "https://api.example.com/repos/mine"
    assert violations(none, ask(base)) == ()
    assert violations(none, ask(f"{base}?a=1")) == ("query",)
    assert violations(none, ask(f"{base}?")) == ("query",)
    assert violations(keys, ask(f"{base}?state=open&key=1")) == ()
    assert violations(keys, ask(f"{base}?state=open&other=1")) == ("query",)


def test_an_empty_path_is_every_path() -> None:
    assert violations(msgspec.structs.replace(BINDING, path=()), ask("https://api.example.com/anything")) == ()


def test_a_url_path_binding_matches_the_template_so_that_no_prefix_holds_a_secret() -> None:
    binding = msgspec.structs.replace(BINDING, path=("bot{credential}",), inject=UrlPath())
    assert violations(binding, ask("https://api.example.com/bot{credential}/getMe", inject_as="url_path")) == ()
    assert violations(binding, ask("https://api.example.com/bot123/getMe")) == ("path", "inject")
    assert "path" in violations(binding, ask("https://api.example.com/file/bot{credential}/x"))


def test_the_first_binding_that_agrees_is_chosen_and_the_nearest_is_reported() -> None:
    header = msgspec.structs.replace(BINDING, inject=Header("X-Key"), path=("other",))
    assert choose((header, BINDING), ask("https://api.example.com/repos/mine")) is BINDING
    with pytest.raises(Violation) as caught:
        choose((header, BINDING), ask("https://api.example.com/repos/mine", "DELETE"))
    assert caught.value.fields == ("methods",)


def test_no_binding_at_all_is_a_violation() -> None:
    with pytest.raises(Violation):
        choose((), ask("https://api.example.com/"))


@given(st.text(alphabet=st.sampled_from("repos/mine.%2e;\\?#x~-"), max_size=30))
def test_whatever_the_path_what_agrees_is_sent_below_the_prefix(tail: str) -> None:
    try:
        url = parse_url(f"https://api.example.com/{tail}")
    except UrlError:
        return
    if "path" not in violations(BINDING, Request("GET", url, None)):
        assert url.target.startswith("/repos/mine")
        assert ".." not in url.segments
        assert "%2e" not in url.path.lower()
