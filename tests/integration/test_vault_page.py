"""The vault page's session over the real processes, with a browser that visits the gateway's page on its other port."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import httpx2
import pytest
from neighbour import neighbour
from running_system import PATIENCE_SECONDS, RunningSystem, running_system

from mycelos.configuration.layout import DataLayout
from mycelos.operator.app import VaultPage
from mycelos.operator.client import OperatorClient
from mycelos.operator.sessions import Sessions
from mycelos.proxy.operator_door.composition import Parts, compose

if TYPE_CHECKING:
    from collections.abc import Iterator


COOKIE = "mycelos_operator"
# The routes themselves are walked: one that is added is in these tests by itself.
_DOOR: Any = compose(Parts(**{field.name: Mock() for field in dataclasses.fields(Parts)} | {"token": "no-token"}))
ROUTES_OF_THE_DOOR = [(method, route.path) for route in _DOOR._app.routes for method in route.methods - {"HEAD"}]
_PAGE = VaultPage(OperatorClient(DataLayout(Path("/nowhere"))), Sessions(), "http://localhost:9101")
PATHS_OF_THE_PAGE = sorted({re.sub(r"\{[a-z]+\}", "x", route.path) for route in _PAGE.session_routes()})


@pytest.fixture(scope="module")
def system(module_data: Path) -> Iterator[RunningSystem]:
    with running_system(module_data) as running:
        yield running


class Browser:
    """One cookie jar for every port of localhost, as browsers have it. It keeps what it sent."""

    def __init__(self, system: RunningSystem) -> None:
        self.system = system
        self.sent: list[httpx2.Request] = []
        self.client = httpx2.Client(
            trust_env=False, timeout=PATIENCE_SECONDS, event_hooks={"request": [self.sent.append]}
        )

    def sign_in(self, *flags: str) -> tuple[str, str]:
        """Follow the link that the command line prints, and press its button: the page's address, and the way in."""
        link = self.system.must("open", "--print", *flags).strip()
        base, _, code = link.partition("/login?code=")
        assert "Sign in" in self.client.get(link).text
        answer = self.client.post(f"{base}/login", data={"code": code}, headers={"Origin": base})
        assert answer.status_code == 303, answer.text
        again = self.client.post(f"{base}/login", data={"code": code}, headers={"Origin": base})
        assert again.status_code == 403, "the link is good once"
        return base, f"{base}{answer.headers['location']}"

    def cookies_sent_to(self, port: int) -> str:
        """The Cookie headers of everything that went to a port."""
        return "\n".join(request.headers.get("cookie", "") for request in self.sent if request.url.port == port)


@pytest.fixture
def browser(system: RunningSystem) -> Iterator[Browser]:
    made = Browser(system)
    with made.client:
        yield made


def shown(answer: httpx2.Response) -> bool:
    """Whether this is a signed-in page, and not the way to the sign-in."""
    assert answer.status_code == 200 or answer.headers["location"] == "/login"
    return answer.status_code == 200 and "Sign out" in answer.text


def test_the_gateway_is_never_sent_the_vault_pages_cookie(system: RunningSystem, browser: Browser) -> None:
    vault, home = browser.sign_in("--operator")
    gateway, _ = browser.sign_in()
    assert shown(browser.client.get(home))
    for path in ("/", "/agents", "/connections", "/s", "/s/", f"/s/{'x' * 43}/", "/rules"):
        browser.client.get(f"{gateway}{path}", headers={"Accept": "text/html"})
    to_gateway = browser.cookies_sent_to(system.port)
    assert "mycelos_session=" in to_gateway
    assert COOKIE not in to_gateway
    # The same jar sends it where it belongs, and the gateway's link leads to the page that says how to get in.
    assert COOKIE in browser.cookies_sent_to(system.operator_port)
    assert f'href="{vault}"' in browser.client.get(f"{gateway}/connections").text
    assert browser.client.get(f"{vault}/").headers["location"] == "/login"
    assert "mycelos open --operator" in browser.client.get(f"{vault}/login").text


def test_half_of_a_session_opens_nothing_from_any_program_of_this_machine(
    system: RunningSystem, browser: Browser
) -> None:
    vault, home = browser.sign_in("--operator")
    cookie = browser.client.cookies[COOKIE]
    other = Browser(system)
    with other.client:
        _, home_of_other = other.sign_in("--operator")
        cookie_of_other = other.client.cookies[COOKIE]

    def is_open(url: str, *cookies: str) -> bool:
        sent = {"Cookie": "; ".join(f"{COOKIE}={value}" for value in cookies)} if cookies else {}
        return shown(httpx2.get(url, headers=sent, trust_env=False, timeout=PATIENCE_SECONDS))

    assert is_open(home, cookie)
    assert is_open(home, "planted", "planted", "planted", cookie)
    assert is_open(home_of_other, cookie_of_other)
    for url, cookies in (
        (home, ()),
        (home, (cookie_of_other,)),
        (home_of_other, (cookie,)),
        (f"{vault}/", (cookie,)),
        (f"{vault}/s/{'x' * 43}/", (cookie,)),
        (f"{vault}/s/{cookie}/", (cookie,)),
    ):
        assert not is_open(url, *cookies), url


def test_the_gateways_own_bearer_opens_no_route_of_door_or_page(system: RunningSystem, browser: Browser) -> None:
    token = system.layout.proxy_token.read_text().strip()
    assert len(token) >= 43
    for method, path in ROUTES_OF_THE_DOOR:
        status, code = at_the_door(system, method, path, token)
        assert (status, code) == (401, "unauthorized"), path
    vault, home = browser.sign_in("--operator")
    before = browser.client.get(home).text.count("<article")
    stranger = httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"{COOKIE}={token}", "Origin": vault}
    with stranger:
        for path in PATHS_OF_THE_PAGE:
            for where in (f"{vault}/s/{token}{path}", f"{home.removesuffix('/')}{path}"):
                for method in ("GET", "POST"):
                    answer = stranger.request(method, where, headers=headers, data={"enabled": "yes"})
                    assert answer.headers["location"] == "/login", where
    assert browser.client.get(home).text.count("<article") == before
    # It is the bearer, and no other word: where it belongs it is known.
    assert at_the_door(system, "GET", "/status", system.layout.operator_token.read_text())[0] == 200


def at_the_door(system: RunningSystem, method: str, path: str, token: str) -> tuple[int, str]:
    """Status and code of an answer at the operator's socket."""
    connection = http.client.HTTPConnection("operator", timeout=PATIENCE_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(system.layout.operator_socket))
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
        connection.request(method, path, b"{}" if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("code", "")


def test_cookies_that_another_port_plants_sign_nobody_out(browser: Browser) -> None:
    _, home = browser.sign_in("--operator")
    with neighbour() as hostile:
        hostile.plants = [f"{COOKIE}=x; Path={path}" for path in ("/", "/s", "/s/")]
        browser.client.get(hostile.url)
        assert COOKIE not in hostile.seen
    answer = browser.client.get(home)
    assert answer.request.headers["cookie"].count(f"{COOKIE}=") == 4
    assert shown(answer)


def test_signing_out_ends_it_and_nothing_that_is_kept_holds_path_or_cookie(
    system: RunningSystem, browser: Browser
) -> None:
    vault, home = browser.sign_in("--operator")
    cookie = browser.client.cookies[COOKIE]
    token = re.search(r'name="form_token" value="([^"]+)"', browser.client.get(home).text)
    assert token
    answer = browser.client.post(f"{home}logout", data={"form_token": token[1]}, headers={"Origin": vault})
    assert answer.headers["location"] == "/login"
    assert not shown(httpx2.get(home, headers={"Cookie": f"{COOKIE}={cookie}"}, trust_env=False))
    kept = {path: path.read_bytes() for path in system.data.rglob("*") if path.is_file()}
    assert system.data / "serve.log" in kept
    for secret in (home.removesuffix("/").rpartition("/")[2], cookie):
        assert [path for path, content in kept.items() if secret.encode() in content] == []
