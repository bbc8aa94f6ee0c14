from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mycelos.operator.posted_form import demand_own_form, read_choice, read_form
from mycelos.operator.sessions import Session, Sessions

pytestmark = pytest.mark.anyio
FORM = b"application/x-www-form-urlencoded"


def posted(body: bytes, kind: bytes = FORM) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind)]}, receive)


async def test_a_form_is_its_known_fields_and_the_token() -> None:
    fields = await read_form(posted(b"form_token=t&a=1+2&m=x&m=y"), {"a"}, {"m"})
    assert fields == {"form_token": "t", "a": "1 2", "m": ["x", "y"]}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1", b"application/json", 415), (b"a=1", b"", 415), (b"b=1", FORM, 400), (b"a=1&a=2", FORM, 400),
        (b"a", FORM, 400), ("a=\u00e9".encode(), FORM, 400), (b"a=%ff", FORM, 400),
        (b"&".join([b"m=1"] * 65), FORM, 400),
    ],
)  # fmt: skip
async def test_what_is_no_such_form_is_refused(body: bytes, kind: bytes, status: int) -> None:
    with pytest.raises(HTTPException) as caught:
        await read_form(posted(body, kind), {"a"}, {"m"})
    assert caught.value.status_code == status


def test_a_form_of_another_session_is_refused() -> None:
    sessions = Sessions()
    one, two = (sessions.find(new.path_token, [new.cookie]) for new in (sessions.begin(), sessions.begin()))
    assert isinstance(one, Session)
    assert isinstance(two, Session)
    demand_own_form({"form_token": one.form_token}, one)
    for fields in ({"form_token": two.form_token}, {"form_token": ""}, {}):
        with pytest.raises(HTTPException):
            demand_own_form(fields, one)


def test_a_button_says_yes_or_no() -> None:
    assert read_choice({"enabled": "yes"})
    assert not read_choice({"enabled": "no"})
    for fields in ({}, {"enabled": ""}, {"enabled": "true"}, {"enabled": "No"}):
        with pytest.raises(HTTPException):
            read_choice(fields)
