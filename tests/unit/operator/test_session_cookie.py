from http.cookies import SimpleCookie

import pytest
from starlette.responses import Response

from mycelos.operator.session_cookie import SessionCookie, home_of
from mycelos.operator.sessions import NewSession

PLAIN = SessionCookie(is_https=False)
NEW = NewSession("path" * 10 + "abc", "cookie-value")


def values(*headers: bytes) -> list[str]:
    return PLAIN.values({"headers": [(b"host", b"localhost"), *((b"cookie", header) for header in headers)]})


def set_by(cookie: SessionCookie) -> SimpleCookie:
    response = Response()
    cookie.give(response, NEW)
    return SimpleCookie(response.headers["set-cookie"])


def test_the_cookie_is_bound_to_its_sessions_path_and_out_of_reach_of_scripts_and_other_sites() -> None:
    (morsel,) = set_by(PLAIN).values()
    assert (morsel.key, morsel.value) == ("mycelos_operator", "cookie-value")
    assert morsel["path"] == home_of(NEW.path_token) == f"/s/{NEW.path_token}"
    assert (morsel["httponly"], morsel["samesite"], morsel["max-age"]) == (True, "strict", "43200")
    assert (morsel["domain"], morsel["secure"]) == ("", "")


def test_behind_https_the_cookie_is_for_https_alone_and_bound_to_the_path_as_well() -> None:
    (morsel,) = set_by(SessionCookie(is_https=True)).values()
    assert (morsel.key, morsel["secure"]) == ("__Secure-mycelos_operator", True)
    assert morsel["path"] == home_of(NEW.path_token)


def test_clearing_takes_the_same_cookie_away() -> None:
    response = Response()
    PLAIN.clear(response, home_of(NEW.path_token))
    (morsel,) = SimpleCookie(response.headers["set-cookie"]).values()
    assert (morsel.key, morsel.value, morsel["max-age"]) == ("mycelos_operator", "", "0")
    assert morsel["path"] == home_of(NEW.path_token)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([b"a=1; b"], []),
        ([b"mycelos_operator=one"], ["one"]),
        ([b"mycelos_operator=one; xmycelos_operator=no;mycelos_operator=two"], ["one", "two"]),
        ([b"mycelos_operator=one", b"a=1; mycelos_operator=two"], ["one", "two"]),
        ([b"mycelos_operator; mycelos_operator="], ["", ""]),
        ([b"__Secure-mycelos_operator=other"], []),
        ([b"mycelos_operator=\xff"], ["\xff"]),
    ],
)
def test_every_cookie_of_the_name_is_read(headers: list[bytes], expected: list[str]) -> None:
    assert values(*headers) == expected


def test_no_more_than_four_cookies_are_looked_at() -> None:
    assert values(b"; ".join(b"mycelos_operator=%d" % number for number in range(1000))) == ["0", "1", "2", "3"]
