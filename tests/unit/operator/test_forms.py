import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.operator.forms import FieldError, build_bindings, checked, parse_host, parse_injection, parse_methods
from mycelos.wire.binding import Basic, Bearer, Header, Method, UrlPath
from mycelos.wire.operator import check_service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api.example.com", ("https", "api.example.com", 443)),
        (" API.Example.com:8443 ", ("https", "api.example.com", 8443)),
        ("https://api.example.com/", ("https", "api.example.com", 443)),
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080)),
    ],
)
def test_a_host_is_read_as_people_write_it(text: str, expected: tuple) -> None:
    assert parse_host(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "http://a.example", "https://a.example/path", "a.example?x", "*.example", "a.example:0", "a.example:65536",
     "ftp://a.example", "user@a.example", "exаmple.com", "a b", "a\\b", "a:1:2", "//a", "https://", "a.example#"],
)  # fmt: skip
def test_what_is_no_exact_host_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_host(text, "url")
    assert caught.value.field == "url"
    assert caught.value.message.startswith("expected ")


@given(st.text(max_size=40))
def test_any_text_makes_a_binding_or_an_error_with_a_field(text: str) -> None:
    try:
        outcome = build_bindings(hosts=[text], path_prefixes=[text], methods=[], inject_as="bearer")[0].host
    except FieldError as error:
        outcome = error.field
    assert outcome in {"host", "path_prefix"} or outcome in text.lower()


def test_methods_are_reading_only_unless_named() -> None:
    assert parse_methods([]) == (Method.GET,)
    assert parse_methods(["post", "GET", "POST"]) == (Method.POST, Method.GET)
    for text in ("FETCH", "TRACE", "CONNECT", "", "GET,POST"):
        with pytest.raises(FieldError, match="expected some of"):
            parse_methods([text])


def test_each_way_to_inject_is_read() -> None:
    assert parse_injection("bearer") == Bearer()
    assert parse_injection("header:X-Key") == Header(name="X-Key")
    assert parse_injection("basic:me") == Basic(name="me")
    assert parse_injection("url_path") == UrlPath()
    for text in ("", "bearer:x", "header", "header:", "basic:", "url_path:x", "cookie:a", "query:key"):
        with pytest.raises(FieldError) as caught:
            parse_injection(text)
        assert caught.value.field == "inject_as"


def test_one_binding_is_made_for_each_host_and_path() -> None:
    bindings = build_bindings(
        hosts=["a.example", "b.example:8443"], path_prefixes=["/v1/items/", "v2"], methods=["GET"], confirm=True
    )
    assert [(binding.host, binding.port, binding.path) for binding in bindings] == [
        ("a.example", 443, ("v1", "items")), ("a.example", 443, ("v2",)),
        ("b.example", 8443, ("v1", "items")), ("b.example", 8443, ("v2",)),
    ]  # fmt: skip
    assert all(binding.confirm for binding in bindings)
    assert build_bindings(hosts=["a.example", "A.example:443"]) == build_bindings(hosts=["a.example"])


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"hosts": []}, "host"),
        ({"hosts": ["a..b"]}, "host"),
        ({"hosts": ["a.example"], "path_prefixes": ["/a//b"]}, "path_prefix"),
        ({"hosts": ["a.example"], "path_prefixes": ["/a/%2e"]}, "path_prefix"),
        ({"hosts": ["a.example"], "path_prefixes": ["/a/../b"]}, "path_prefix"),
        ({"hosts": ["a.example"], "inject_as": "header:Host"}, "inject_as"),
        ({"hosts": ["a.example"], "inject_as": "header:a b"}, "inject_as"),
        ({"hosts": ["a.example"], "inject_as": "basic:a:b"}, "inject_as"),
        ({"hosts": ["a.example"], "inject_as": "url_path"}, "path_prefix"),
        ({"hosts": ["a.example"], "methods": ["X"]}, "methods"),
    ],
)
def test_an_error_names_the_field_of_the_form(arguments: dict, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        build_bindings(**arguments)
    assert caught.value.field == field
    assert "binding field" not in caught.value.message


def test_a_secret_in_the_path_needs_its_place() -> None:
    (binding,) = build_bindings(hosts=["a.example"], path_prefixes=["/bot{credential}/send"], inject_as="url_path")
    assert binding.path == ("bot{credential}", "send")


def test_a_checked_field_is_named_in_its_error_and_not_quoted() -> None:
    assert checked("service", check_service, "example") == "example"
    with pytest.raises(FieldError) as error:
        checked("service", check_service, "Not A Name")
    assert error.value.field == "service"
    assert error.value.message.startswith("expected a name of a-z")
    assert "Not A Name" not in error.value.message
