"""A2, I5: the running page, as a hostile web page, a stranger on the network and a nosy client meet it."""

from __future__ import annotations

import http.client
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mycelos.configuration.plain_file import read_plain_file
from mycelos.prove.outcome import CannotShowError, Finding

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

SECONDS: Final = 20.0
_LISTENING: Final = "0A"
_LIST_FIELDS: Final = frozenset({"service", "label", "created_at"})
_NAMES_OF_SECRETS: Final = re.compile(r"secret|plaintext|api_?key|private_?key|master|credential_value|\btoken\b")
_TOKEN_FILE_LIMIT: Final = 256
_TOKEN: Final = re.compile(rb"(?P<token>[A-Za-z0-9_-]{43})\n?")
_LOOPBACK: Final = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - named, not bound


@dataclass(frozen=True)
class Page:
    """Where the page is, and what a program of this user may say to it."""

    host: str
    port: int
    token: str

    def ask(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, str]:
        """Status and text of one answer.

        Raises:
            CannotShowError: the page does not answer.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        # http.client writes a Host of its own unless it is told not to.
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            content = b"" if body is None else json.dumps(body).encode()
            told = {"Host": f"localhost:{self.port}", "Content-Type": "application/json"} | headers
            for name, value in {**told, "Content-Length": str(len(content))}.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            message = f"the page at {self.host}:{self.port} does not answer ({type(error).__name__})"
            raise CannotShowError(message) from None
        finally:
            connection.close()

    def as_owner(self) -> dict[str, str]:
        """The header of a program that holds the command line's token."""
        return {"Authorization": f"Bearer {self.token}"}


def find_page(installation: Installation) -> Page:
    """The running page.

    Raises:
        CannotShowError: nothing runs, or the command line's token cannot be read.
    """
    state = installation.running()
    try:
        content = read_plain_file(installation.layout.command_line_token, _TOKEN_FILE_LIMIT)
    except OSError:
        content = b""
    found = _TOKEN.fullmatch(content)
    if found is None:
        message = f"{installation.layout.command_line_token} cannot be read; is this the user who started the system?"
        raise CannotShowError(message)
    return Page(_LOOPBACK.get(state.bind, state.bind), state.port, found["token"].decode("ascii"))


def probe_page(installation: Installation) -> list[Finding]:
    """A2: listen addresses, then requests without a session, under foreign names and from foreign pages."""
    state = installation.running()
    page = find_page(installation)
    status, _ = page.ask("GET", "/api/status", page.as_owner())
    if status != 200:
        message = f"the page does not answer its own user (status {status}), so refusals would show nothing"
        raise CannotShowError(message)
    listeners = _listeners(page.port)
    foreign = sorted(listener for listener in listeners if not listener.startswith(("127.", "::1")))
    is_meant = state.bind not in {"127.0.0.1", "localhost", "::1"}
    findings = [
        Finding("find the page on another address than this machine's own",
                f"listens on {', '.join(sorted(listeners)) or 'nothing that is shown'}"
                + (f"; MYCELOS_BIND={state.bind} asks for that, behind a password" if is_meant else ""),
                held=bool(listeners) and (not foreign or is_meant)),
    ]  # fmt: skip
    here = f"http://localhost:{page.port}"
    for tried, method, path, headers, refusals in (
        ("read the chats without a session", "GET", "/api/chats", {}, {401}),
        ("open the page without a session", "GET", "/", {"Accept": "text/html"}, {302, 303, 307, 401}),
        ("use a made-up session", "GET", "/api/chats", {"Cookie": "mycelos_session=" + "x" * 43}, {401}),
        ("use a made-up token", "GET", "/api/chats", {"Authorization": "Bearer " + "x" * 43}, {401}),
        ("reach it under a foreign name (DNS rebinding)", "GET", "/api/chats",
         {"Host": f"evil.example:{page.port}"} | page.as_owner(), {421}),
        ("reach it under its name with another port", "GET", "/api/chats",
         {"Host": "localhost:1"} | page.as_owner(), {421}),
        ("change something from a foreign page", "POST", "/api/chats",
         {"Origin": "https://evil.example"} | page.as_owner(), {403}),
        ("change something from a page on another port", "POST", "/api/chats",
         {"Origin": "http://localhost:1"} | page.as_owner(), {403}),
        ("change something across sites", "POST", "/api/chats",
         {"Origin": here, "Sec-Fetch-Site": "cross-site"} | page.as_owner(), {403}),
    ):  # fmt: skip
        status, _ = page.ask(method, path, headers, {} if method == "POST" else None)
        findings.append(Finding(tried, f"status {status}", held=status in refusals))
    return findings


def probe_credential_list(installation: Installation) -> list[Finding]:
    """I5: the list as it is, and every field that any route of the page takes or gives."""
    page = find_page(installation)
    status, text = page.ask("GET", "/api/credentials/list", page.as_owner())
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if status != 200 or not isinstance(listed, list):
        message = f"the list of credentials could not be read (status {status})"
        raise CannotShowError(message)
    extra = sorted({str(name) for one in listed if isinstance(one, dict) for name in one} - _LIST_FIELDS)
    are_objects = all(isinstance(one, dict) for one in listed)
    findings = [
        Finding("find more than service, label and created_at in the list of credentials",
                f"{len(listed)} listed, with more: {', '.join(extra)}" if extra else f"{len(listed)} listed, no more",
                held=are_objects and not extra),
    ]  # fmt: skip
    status, text = page.ask("GET", "/openapi.json", page.as_owner())
    try:
        document = json.loads(text) if status == 200 else {}
    except ValueError:
        document = {}
    paths, fields = sorted(document.get("paths", {})), _fields(document)
    found = sorted(name for name in fields if _NAMES_OF_SECRETS.search(name))
    findings.append(
        Finding(f"find a field for a secret in the page's {len(paths)} routes",
                f"{len(fields)} fields: {', '.join(found) or 'none is for one'}", held=bool(paths) and not found)
    )  # fmt: skip
    for path in ("/api/credentials", "/api/credentials/store", "/api/credentials/materialize"):
        status, _ = page.ask("POST", path, page.as_owner(), {"service": "probe", "secret": "made-up"})
        findings.append(Finding(f"give a secret to {path}", f"status {status}", held=status in {404, 405}))
    return findings


def _fields(document: Any) -> set[str]:
    """The names of every property in an OpenAPI document."""
    if isinstance(document, dict):
        properties = document.get("properties")
        own = set(properties) if isinstance(properties, dict) else set()
        return own.union(*map(_fields, document.values()))
    if isinstance(document, list):
        return set().union(*map(_fields, document))
    return set()


def _listeners(port: int) -> set[str]:
    """The addresses on which something listens at ``port`` (/proc/net/tcp, proc_pid_net(5))."""
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        path = Path("/proc/net") / name
        lines = path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []
        for line in lines:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                # Each group of four bytes is one 32-bit word in the byte order of the machine.
                words = bytes.fromhex(address)
                packed = b"".join(words[place : place + 4][::-1] for place in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, packed))
    return found
