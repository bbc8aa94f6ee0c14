"""The vault page on a real port, in a thread of the test's process, over a real operator's door."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import socket
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx2
import uvicorn
from made_once import NO_TLS, Templates
from software_authenticator import SoftwareAuthenticator

from mycelos.configuration.layout import DataLayout
from mycelos.operator import frame
from mycelos.operator.app import VaultPage
from mycelos.operator.browser_connection import BrowserConnection
from mycelos.operator.browser_rules import allowed_origins
from mycelos.operator.client import OperatorClient
from mycelos.operator.sessions import Sessions

frame.Environment = Templates

WAIT = 30.0
"""Seconds after which any wait of these tests has failed."""

SECRET = "canary-page-50aa1"


def page_text(answer: Any) -> str:
    """What a person reads on a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def options_of(answer: Any) -> Any:
    """What a page gives its script for the browser's passkey dialogue."""
    found = re.search(r'data-options="([^"]+)"', answer.text)
    assert found, answer.text
    return json.loads(unescape(found[1]))


def enrol(page: ServedVaultPage, key: SoftwareAuthenticator, label: str = "laptop") -> Any:
    """Enrol a passkey as the page's script and a browser would."""
    made = key.create(options_of(page.submit("/passkeys/new", label=label)))
    return page.submit("/passkeys/enrol", credential=json.dumps(made))


def new_fields(**changes: Any) -> dict[str, Any]:
    """The form of a new credential, filled in."""
    fields = {"service": "example", "label": "", "secret": SECRET, "template": "", "host": "api.example.com",
              "path_prefix": "", "methods": ["GET"], "inject": "bearer", "inject_name": ""}  # fmt: skip
    return {**fields, **changes}


def sign_in(page: ServedVaultPage, operator_system: Any) -> None:
    """Sign the page's browser in with a fresh link."""
    assert page.sign_in(operator_system.client.create_link().code).status_code == 303


class PromptServer(uvicorn.Server):
    """Ends when it is told to: uvicorn's own looks ten times a second whether it was."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._over.wait()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)


class ServedVaultPage:
    """The page, and one browser with a browser's habits: its cookie jar, and the page's Origin on every form."""

    def __init__(self, layout: DataLayout, listener: socket.socket, public_url: str | None = None) -> None:
        self.base = f"http://localhost:{listener.getsockname()[1]}"
        self.sessions = Sessions()
        self.page = VaultPage(OperatorClient(layout), self.sessions, public_url or self.base)
        app = self.page.app(allowed_origins(listener.getsockname()[1], public_url))
        config = uvicorn.Config(
            app,
            http=BrowserConnection,
            lifespan="off",
            log_level="warning",
            access_log=False,
            ws="none",
            loop="asyncio",
        )
        self.server = PromptServer(config)
        self.thread = threading.Thread(target=self.server.run, args=([listener],))
        self.browser = self.new_browser()
        self.home = ""
        """The path of the signed-in pages, from the first sign-in on."""

    def new_browser(self, **cookies: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.base, timeout=WAIT, trust_env=False, verify=NO_TLS, cookies=cookies)

    def sign_in(self, code: str, browser: httpx2.Client | None = None, **headers: str) -> Any:
        """Redeem a code; the answer. Where it worked, `home` is the new session's."""
        answer = self.post("/login", {"code": code}, browser, **headers)
        if answer.status_code == 303:
            self.home = answer.headers["location"].removesuffix("/")
        return answer

    def get(self, path: str, browser: httpx2.Client | None = None) -> Any:
        """One of the signed-in pages."""
        return (browser or self.browser).get(f"{self.home}{path}")

    def post(self, path: str, fields: dict[str, Any], browser: httpx2.Client | None = None, **headers: str) -> Any:
        """A form to exactly this path."""
        sent = {"Origin": self.base, "Sec-Fetch-Site": "same-origin", **headers}
        return (browser or self.browser).post(path, data=fields, headers=sent)

    def send(self, path: str, fields: dict[str, Any], **headers: str) -> Any:
        """A form of the signed-in pages, with nothing but these fields."""
        return self.post(f"{self.home}{path}", fields, **headers)

    def submit(self, path: str, /, **fields: Any) -> Any:
        """A form of the signed-in pages, with this session's token."""
        return self.send(path, {"form_token": self.form_token(), **fields})

    def form_token(self, path: str = "/") -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get(path).text)
        assert found
        return found[1]


@contextlib.contextmanager
def served_vault_page(layout: DataLayout, public_url: str | None = None) -> Iterator[ServedVaultPage]:
    """The page while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Else each answer waits 40 ms: asyncio does it only where a socket knows its protocol, as the page's own does.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        page = ServedVaultPage(layout, listener, public_url)
        page.thread.start()
        waiting = threading.Event()
        for _ in range(2000):
            if page.server.started:
                break
            waiting.wait(0.005)
        assert page.server.started
        # As its process does: what is here when it starts is not looked through after each form.
        gc.collect()
        gc.freeze()
        try:
            yield page
        finally:
            page.browser.close()
            page.server.end()
            page.thread.join(WAIT)
