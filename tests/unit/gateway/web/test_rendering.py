from __future__ import annotations

import jinja2
import pytest
from fastapi import Request

from mycelos.gateway.identity.principal import Principal, SignIn
from mycelos.gateway.web.rendering import Pages, when
from mycelos.wire.lockdown import LockdownState


def request(path: str = "/connections") -> Request:
    principal = Principal(SignIn.SESSION, "sess_1", 'tok"en')
    return Request(
        {"type": "http", "path": path, "headers": [], "query_string": b"", "state": {"principal": principal}}
    )


class Followed:
    """What the page asks of the watch."""

    state = LockdownState(locked=False, since=None, last="")


def make_pages(state: LockdownState = Followed.state) -> Pages:
    followed = Followed()
    followed.state = state
    return Pages(followed)  # type: ignore[arg-type]  # all that is asked of it


def test_each_page_says_that_egress_is_locked_down() -> None:
    def text(state: LockdownState) -> str:
        page = make_pages(state).respond(request(), "connections.html", credentials=[], vault_url="")
        return bytes(page.body).decode()

    assert "locked down" not in text(Followed.state)
    shown = text(LockdownState(locked=True, since="2026-11-26T08:00:00Z", last="x"))
    assert "Egress is locked down since 26 Nov 2026, 08:00 UTC" in shown
    assert "mycelos lockdown --lift" in shown
    assert "Egress is locked down." in text(LockdownState(locked=True, since=None, last="x"))


def test_values_are_escaped_and_forms_have_the_sessions_token() -> None:
    page = make_pages().respond(request(), "connections.html", credentials=[], vault_url='"><script>')
    text = bytes(page.body).decode()
    assert "<script>" not in text
    assert "&#34;&gt;&lt;script&gt;" in text
    assert 'name="form_token" value="tok&#34;en"' in text
    assert '<a href="/connections" aria-current="page">' in text


def test_a_value_that_is_not_there_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        make_pages().respond(request(), "connections.html", credentials=[])


def test_no_page_holds_a_script_or_a_style_of_its_own() -> None:
    environment = make_pages()._environment
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
