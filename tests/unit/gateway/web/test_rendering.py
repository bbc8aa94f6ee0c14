from __future__ import annotations

import jinja2
import pytest
from fastapi import Request

from mycelos.gateway.identity.principal import Principal, SignIn
from mycelos.gateway.web.rendering import Pages, when


def request(path: str = "/connections") -> Request:
    principal = Principal(SignIn.SESSION, "sess_1", 'tok"en')
    return Request(
        {"type": "http", "path": path, "headers": [], "query_string": b"", "state": {"principal": principal}}
    )


def test_values_are_escaped_and_forms_have_the_sessions_token() -> None:
    page = Pages().respond(request(), "connections.html", credentials=[], vault_url='"><script>')
    text = bytes(page.body).decode()
    assert "<script>" not in text
    assert "&#34;&gt;&lt;script&gt;" in text
    assert 'name="form_token" value="tok&#34;en"' in text
    assert '<a href="/connections" aria-current="page">' in text


def test_a_value_that_is_not_there_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        Pages().respond(request(), "connections.html", credentials=[])


def test_no_page_holds_a_script_or_a_style_of_its_own() -> None:
    environment = Pages()._environment
    assert environment.loader is not None
    for name in environment.list_templates():
        source = environment.loader.get_source(environment, name)[0]
        assert "style=" not in source
        assert "<style" not in source
        assert "|safe" not in source
        assert " on" not in [source[at : at + 3] for at in range(len(source)) if source[at + 3 : at + 9] == "click="]
        assert source.count("<script") == source.count('<script type="module" src="/static/app.js"></script>')


def test_times_are_for_people() -> None:
    assert when("2026-11-02T16:05:04.000000Z") == "2 Nov 2026, 16:05"
    assert when("whenever") == "whenever"
