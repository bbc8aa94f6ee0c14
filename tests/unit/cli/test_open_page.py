from __future__ import annotations

import json
import stat
import sys

import msgspec
import pytest
from scripted_gateway import problem, running_state

from mycelos.cli import open_page
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.supervisor.state import write_state
from mycelos.wire.operator import LinkCreated
from mycelos.wire.problems import ProblemCode, Refusal

CODE = "c0de-_".ljust(43, "x")
LINK = {"code": CODE, "expires_at": "2026-01-01T00:10:00Z"}
URL = f"http://localhost:9100/login?code={CODE}"


@pytest.fixture
def linking(gateway):
    gateway.answers["POST /api/auth/link"] = (200, LINK)
    return gateway


def test_a_link_is_printed(mycelos, linking) -> None:
    assert mycelos("open", "--print")[:2] == (0, f"http://localhost:{linking.port}/login?code={CODE}\n")


def test_a_link_as_json_tells_when_it_ends(mycelos, linking) -> None:
    url = f"http://localhost:{linking.port}/login?code={CODE}"
    assert json.loads(mycelos("open", "--json")[1]) == {"url": url, "expires_at": LINK["expires_at"]}


def test_a_refused_link_is_an_error(mycelos, gateway) -> None:
    gateway.answers["POST /api/auth/link"] = (403, problem("forbidden", "No.", "Ask.", 403))
    assert mycelos("open") == (1, "", "mycelos: No. Ask.\n")


def test_without_a_system_there_is_no_link(mycelos, layout) -> None:
    assert mycelos("open")[0] == 1


def test_a_link_to_the_vault_page_comes_from_the_operators_door(mycelos, linking, monkeypatch) -> None:
    monkeypatch.setattr(OperatorClient, "create_link", lambda _: LinkCreated(**LINK))
    assert mycelos("open", "--operator", "--print")[:2] == (0, f"http://localhost:9101/login?code={CODE}\n")
    assert linking.asked == []


@pytest.mark.parametrize(
    "error",
    [Refusal(ProblemCode.FORBIDDEN, "No.", "Ask."), OperatorUnavailableError(detail="No.", next_step="Ask.")],
)
def test_a_door_that_refuses_is_an_error(mycelos, linking, monkeypatch, error) -> None:
    def refuse(_client):
        raise error

    monkeypatch.setattr(OperatorClient, "create_link", refuse)
    assert mycelos("open", "--operator") == (1, "", "mycelos: No. Ask.\n")


@pytest.fixture
def desktop(monkeypatch, tmp_path):
    """A machine with a desktop whose opener writes its arguments down."""
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    return tmp_path / "opened"


def test_the_browser_gets_a_file_and_no_code_in_its_arguments(layout, linking, desktop) -> None:
    open_page._open_in_browser(layout, URL)
    page = layout.run / "open.html"
    assert desktop.read_text().split() == [str(page)]
    assert f"url={URL}" in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_without_a_desktop_no_browser_is_started(layout, linking, desktop, monkeypatch) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    open_page._open_in_browser(layout, URL)
    assert not desktop.exists()


HOSTILE_LINKS = [
    {"url": "javascript:alert(1)", "expires_at": "2026-01-01T00:10:00Z"},
    LINK | {"url": "https://evil.example/"},
    LINK | {"code": "x\x1b]52;c;ZXZpbA==\x07".ljust(43, "x")},
    LINK | {"code": "javascript:alert(1)"},
    LINK | {"code": f"{CODE}#"},
    LINK | {"expires_at": "\u202esoon"},
    {"code": CODE},
    [LINK],
]


@pytest.mark.parametrize("answer", HOSTILE_LINKS)
@pytest.mark.parametrize("flag", ["--print", "--json"])
def test_nothing_of_a_hostile_answer_is_printed(mycelos, gateway, answer, flag: str) -> None:
    gateway.answers["POST /api/auth/link"] = (200, answer)
    code, out, err = mycelos("open", flag)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err[:-1].isprintable()


@pytest.mark.parametrize("answer", HOSTILE_LINKS)
def test_nothing_of_a_hostile_answer_is_opened(mycelos, gateway, layout, desktop, answer) -> None:
    gateway.answers["POST /api/auth/link"] = (200, answer)
    assert mycelos("open")[0] == 1
    assert not desktop.exists()
    assert not (layout.run / "open.html").exists()


def test_where_the_page_is_says_the_supervisor(mycelos, linking, layout) -> None:
    state = msgspec.structs.replace(running_state(linking.port), page_url="https://mycelos.example")
    write_state(layout, state)
    assert mycelos("open", "--print")[1] == f"https://mycelos.example/login?code={CODE}\n"


def test_a_code_of_the_vault_page_that_is_none_is_refused(mycelos, linking, monkeypatch) -> None:
    monkeypatch.setattr(OperatorClient, "create_link", lambda _: LinkCreated(code="a b", expires_at="soon"))
    code, out, err = mycelos("open", "--operator", "--print")
    assert (code, out, err.count("\n")) == (1, "", 1)
