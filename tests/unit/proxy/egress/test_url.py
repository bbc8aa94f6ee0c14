from __future__ import annotations

import ipaddress
import itertools
import re
from urllib.parse import urlsplit

import pytest
from hostile_urls import BRACKETED, ENDS, LABELS, NUMBERS, PIECES, PORTS, QUERIES, ROWS, USERS, hostile_urls
from hypothesis import example, given, settings
from hypothesis import strategies as st
from url_readings import READERS, by_the_other_end, disagreements, ours

from mycelos.proxy.egress import url as url_module
from mycelos.proxy.egress.url import MAXIMUM_LENGTH, CanonicalUrl, UrlError, UrlPart, parse_host, parse_url

HOSTILE = st.text(
    alphabet=st.sampled_from("ahtps:/@.\\?#%[]0127xXE-_~;\t\n\r\0 { }cé。１①\u00ad\u200d\u2100"), max_size=40
)


@pytest.mark.parametrize(
    ("given_text", "canonical"),
    [
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://example.com/%7Euser/%41%2d", "https://example.com/~user/A-"),
        ("https://example.com/a/./b/../c", "https://example.com/a/c"),
        ("https://example.com/a/../", "https://example.com/"),
        ("https://example.com/../../x", "https://example.com/x"),
        ("https://example.com/käse?q=ä", "https://example.com/k%C3%A4se?q=%C3%A4"),
        ("https://example.com/%c3%a4", "https://example.com/%C3%A4"),
        ("https://example.com?x=1#part", "https://example.com/?x=1"),
        ("https://example.com/#@evil.example/", "https://example.com/"),
        ("https://example.com/a//b/", "https://example.com/a//b/"),
        ("https://example.com/?", "https://example.com/?"),
        ("http://[2A00:0:0::1]:80/", "http://[2a00::1]/"),
        ("http://[2a00::1]:8080/", "http://[2a00::1]:8080/"),
        ("http://[::FFFF:1.2.3.4]/", "http://[::ffff:102:304]/"),
        ("http://[1:0:0:4:5:0:0:0]/", "http://[1:0:0:4:5::]/"),
        ("http://[1:0:3:0:5:0:7:8]/", "http://[1:0:3:0:5:0:7:8]/"),
        ("http://1.2.3.4/", "http://1.2.3.4/"),
        ("https://xn--fa-hia.example/", "https://xn--fa-hia.example/"),
        ("https://example.com/a...b/...c/\u2026d", "https://example.com/a...b/...c/%E2%80%A6d"),
        ("https://example.com/%EF%BC%9F\uff05", "https://example.com/%EF%BC%9F%EF%BC%85"),
        ("https://r3---sn-abc.example.com/", "https://r3---sn-abc.example.com/"),
        ("https://api.example.com/bot%7Bcredential%7d/getMe", "https://api.example.com/bot{credential}/getMe"),
    ],
)
def test_a_url_has_one_canonical_form(given_text: str, canonical: str) -> None:
    url = parse_url(given_text)
    assert str(url) == canonical
    assert parse_url(canonical) == url


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ftp://example.com/", UrlPart.SCHEME),
        ("http:/example.com/", UrlPart.SCHEME),
        ("//example.com/", UrlPart.SCHEME),
        (" https://example.com/", UrlPart.WHOLE),
        ("https://exa\tmple.com/", UrlPart.WHOLE),
        ("https://example.com/a\r\nHost: evil", UrlPart.WHOLE),
        ("https://example.com/a\0", UrlPart.WHOLE),
        ("https://example.com\\@evil.example/", UrlPart.WHOLE),
        ("https://example.com/\ud800", UrlPart.WHOLE),
        ("https://" + "a" * MAXIMUM_LENGTH, UrlPart.WHOLE),
        ("https://user@example.com/", UrlPart.HOST),
        ("https://user:pw@example.com/", UrlPart.HOST),
        ("https://exam%70le.com/", UrlPart.HOST),
        ("https:///path", UrlPart.HOST),
        ("https://example..com/", UrlPart.HOST),
        ("https://example.com./", UrlPart.HOST),
        ("https://-a.example/", UrlPart.HOST),
        ("https://a_b.example/", UrlPart.HOST),
        ("https://example.com:/", UrlPart.HOST),
        ("https://example.com:0443/", UrlPart.HOST),
        ("https://example.com:0/", UrlPart.HOST),
        ("https://example.com:65536/", UrlPart.PORT),
        ("https://example.com:٤٤٣/", UrlPart.HOST),
        ("http://127.1/", UrlPart.HOST),
        ("http://0x7f.0.0.1/", UrlPart.HOST),
        ("http://017700000001/", UrlPart.HOST),
        ("http://2130706433/", UrlPart.HOST),
        ("http://1.2.3.04/", UrlPart.HOST),
        ("http://a.0x/", UrlPart.HOST),
        ("http://[::1%25eth0]/", UrlPart.HOST),
        ("http://[::1]x/", UrlPart.HOST),
        ("http://[1.2.3.4]/", UrlPart.HOST),
        ("http://ⓛocalhost/", UrlPart.HOST),
        ("http://\u212aelvin.example/", UrlPart.HOST),
        ("http://a\u3002b.example/", UrlPart.HOST),
        ("http://xn--a.example/", UrlPart.HOST),
        ("http://fa\u00df.example/", UrlPart.HOST),
        ("http://\u13a0.example/", UrlPart.HOST),
        ("http://\u03b2\u03cc\u03bb\u03bf\u03c2.example/", UrlPart.HOST),
        ("http://\u0915\u094d\u200d\u0937.example/", UrlPart.HOST),
        ("https://example.com//evil.example/", UrlPart.PATH),
        ("https://example.com/a/..//evil", UrlPart.PATH),
        ("https://example.com/%2e%2e/admin", UrlPart.PATH),
        ("https://example.com/%2Fadmin", UrlPart.PATH),
        ("https://example.com/%5cadmin", UrlPart.PATH),
        ("https://example.com/%252e%252e/admin", UrlPart.PATH),
        ("https://example.com/%25%32%65%25%32%65/admin", UrlPart.PATH),
        ("https://example.com/%25%35%63admin", UrlPart.PATH),
        ("https://example.com/%c0%ae%c0%ae/admin", UrlPart.PATH),
        ("https://example.com/a%ff", UrlPart.PATH),
        ("https://example.com/bot{cre%64ential}/x", UrlPart.PATH),
        ("https://example.com/bot%7Bcre%64ential%7D/x", UrlPart.PATH),
        ("https://example.com/..;/admin", UrlPart.PATH),
        ("https://example.com/a/.", UrlPart.PATH),
        ("https://example.com/a/b/..", UrlPart.PATH),
        ("https://example.com/..%20/admin", UrlPart.PATH),
        ("https://example.com/a/%C2%A0..", UrlPart.PATH),
        ("https://example.com/a/.../b", UrlPart.PATH),
        ("https://example.com/a/\uff0e\uff0e/admin", UrlPart.PATH),
        ("https://example.com/a/%E2%80%A5/admin", UrlPart.PATH),
        ("https://example.com/a\uff0fadmin", UrlPart.PATH),
        ("https://example.com/a%EF%BC%BCadmin", UrlPart.PATH),
        ("https://example.com/\u2105", UrlPart.PATH),
        ("https://example.com/a/\uff052e\uff052e/admin", UrlPart.PATH),
        ("https://example.com/%0d%0aX:y", UrlPart.PATH),
        ("https://example.com/%00", UrlPart.PATH),
        ("https://example.com/%zz", UrlPart.PATH),
        ("https://example.com/{other}", UrlPart.PATH),
        ('https://example.com/"', UrlPart.PATH),
        ("https://example.com/?q={credential}", UrlPart.QUERY),
        ("https://example.com/?q=%z", UrlPart.QUERY),
        ("https://example.com/?q%00=1", UrlPart.QUERY),
    ],
)
def test_what_parsers_read_in_different_ways_is_refused_with_the_part_at_fault(text: str, part: UrlPart) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(text)
    assert caught.value.part == part


def test_an_error_never_quotes_what_was_given() -> None:
    with pytest.raises(UrlError) as caught:
        parse_url("https://hunter2-secret@example.com/")
    assert "hunter2" not in str(caught.value)


def test_an_address_is_known_as_one_and_a_name_is_not() -> None:
    assert parse_url("http://1.2.3.4/").address == ipaddress.IPv4Address("1.2.3.4")
    assert parse_url("http://[2a00::1]/").address == ipaddress.IPv6Address("2a00::1")
    assert parse_url("http://1.2.3.4.example.com/").address is None


def test_parse_host_gives_the_form_that_is_dialled() -> None:
    assert parse_host("API.Example.com") == "api.example.com"


@pytest.mark.parametrize("row", [row for row in ROWS if row["cat"] == "allow"], ids=lambda row: row["why"])
def test_each_allowed_url_of_the_development_set_parses(row: dict[str, str]) -> None:
    assert isinstance(parse_url(row["url"]), CanonicalUrl)


@given(HOSTILE)
@example("https://a.b/%")
def test_whatever_comes_is_refused_or_parsed_and_parsing_again_changes_nothing(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            url = parse_url(candidate)
        except UrlError:
            continue
        again = parse_url(str(url))
        assert again == url
        assert all(0x20 < ord(character) < 0x7F and character not in '\\"<>^`|' for character in str(url))


@given(st.text(alphabet=st.sampled_from("ab.:@/\\[]%#?0123x-"), max_size=24))
def test_the_host_is_the_one_that_the_standard_library_sees(text: str) -> None:
    try:
        url = parse_url(f"http://{text}")
    except UrlError:
        return
    split = urlsplit(str(url))
    assert split.hostname == url.host
    assert (split.port or 80) == url.port
    assert split.username is None
    original = urlsplit(f"http://{text}")
    assert original.hostname is not None
    if ":" not in url.host:
        assert original.hostname == url.host


def differences(text: str) -> dict[str, object]:
    """Who reads ``text`` in another way than we, if we accept it at all."""
    try:
        url = parse_url(text)
    except UrlError:
        return {}
    found: dict[str, object] = dict(disagreements(text, url))
    if by_the_other_end(url) != ours(url):
        found["the other end"] = by_the_other_end(url)
    return found


@given(hostile_urls())
@settings(max_examples=min(settings().max_examples * 20, 10_000))
def test_what_we_accept_is_read_in_the_same_way_by_every_parser_that_accepts_it(text: str) -> None:
    assert differences(text) == {}, text


def test_each_pair_of_tricks_and_each_row_of_the_development_set_is_read_in_one_way_or_refused() -> None:
    names = (f"{name}{rest}" for name in (*LABELS, *NUMBERS) for rest in ("", ".", ".example", ".example."))
    hosts = (f"http://{user}{host}{port}/" for user in USERS for host in (*names, *BRACKETED) for port in ("", ":80"))
    ports = (
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("a.example", "[2a00::1]")
        for port in PORTS
    )
    pairs = itertools.product(["", "/a", "/a/b"], PIECES, PIECES)
    paths = (f"http://a.example{before}/{first}/{second}" for before, first, second in pairs)
    ends = (f"http://a.example/x{query}{end}" for query in QUERIES for end in ENDS)
    rows = (row["url"] for row in ROWS)
    found = {text: wrong for text in itertools.chain(hosts, ports, paths, ends, rows) if (wrong := differences(text))}
    assert found == {}


def test_each_parser_reads_a_plain_url_so_that_a_difference_would_be_seen() -> None:
    text = "https://a.example:8443/b/c?d=1"
    for read in READERS.values():
        assert read(text) == ours(parse_url(text))
        assert read("https://a.example:8443/b/x?d=1") != ours(parse_url(text))
        assert read("https://b.example:8443/b/c?d=1") != ours(parse_url(text))


def test_without_the_look_at_older_idna_a_name_is_read_in_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences("http://fa\u00df.example/") == {}
    monkeypatch.setattr(url_module, "_in_older_idna", lambda _host: None)
    assert set(differences("http://fa\u00df.example/")) == {"standard library"}


def test_without_the_refusal_of_backslashes_a_path_is_read_in_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences("http://a.example/b/..\\admin") == {}
    for name in ("_FORBIDDEN", "_SEGMENT", "_STRUCTURE"):
        monkeypatch.setattr(url_module, name, re.compile("(?!)" if name != "_SEGMENT" else ".*"))
    assert "URL standard" in differences("http://a.example/b/..\\admin")


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0x102, 0xFFFF]), min_size=8, max_size=8))
def test_an_ipv6_address_has_one_text_whatever_python_runs(groups: list[int]) -> None:
    packed = b"".join(group.to_bytes(2, "big") for group in groups)
    url = parse_url(f"http://[{':'.join(f'{group:04x}' for group in groups)}]/")
    assert url.address == ipaddress.IPv6Address(packed)
    assert "." not in url.host
    assert parse_url(str(url)) == url
    if url.address.ipv4_mapped is None:
        assert url.host == str(url.address)
