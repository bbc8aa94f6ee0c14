from __future__ import annotations

import socket

import pytest

from mycelos.prove import page
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.upstream import Upstream
from mycelos.supervisor.state import SupervisorState


def at(layout, port, bind="127.0.0.1"):
    layout.gateway.mkdir(parents=True, exist_ok=True)
    layout.command_line_token.write_text("t" * 43 + "\n")
    return Installation(layout, SupervisorState(1, 1, 1, "", "", bind, port, 1, "", "", ()))


def test_a_request_carries_exactly_the_host_that_it_is_given(layout):
    with Upstream() as upstream:
        found = page.find_page(at(layout, upstream.port))
        found.ask("POST", "/x", {"Host": "evil.example"} | found.as_owner(), {"a": 1})
    (text,) = upstream.requests
    assert text.count("Host: ") == 1
    assert "Host: evil.example" in text
    assert f"Authorization: Bearer {'t' * 43}\n" in text
    assert '{"a": 1}' in text


@pytest.mark.parametrize(("bind", "host"), [("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")])
def test_the_page_is_asked_on_this_machine(layout, bind, host):
    assert page.find_page(at(layout, 1, bind)).host == host


@pytest.mark.parametrize("content", [None, b"\xff" * 43, b"t" * 43 + b"\r\nX: y", b""])
def test_without_the_command_line_s_token_nothing_is_shown(layout, content):
    installation = at(layout, 1)
    if content is None:
        layout.command_line_token.unlink()
    else:
        layout.command_line_token.write_bytes(content)
    with pytest.raises(CannotShowError, match="user who started"):
        page.find_page(installation)


def test_a_page_that_does_not_answer_shows_nothing(layout, free_port):
    for probe in (page.probe_page, page.probe_credential_list):
        with pytest.raises(CannotShowError, match="does not answer"):
            probe(at(layout, free_port()))


def test_an_answer_that_is_no_list_shows_nothing(layout):
    with Upstream() as upstream, pytest.raises(CannotShowError, match="could not be read"):
        page.probe_credential_list(at(layout, upstream.port))


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_addresses_on_which_something_listens_are_the_kernel_s(family, address):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        assert page._listeners(listener.getsockname()[1]) == {address}


def test_every_property_of_a_document_is_found():
    document = {"a": [{"properties": {"one": {"properties": {"two": {}}}}}], "properties": {"three": {"type": "x"}}}
    assert page._fields(document) == {"one", "two", "three"}
