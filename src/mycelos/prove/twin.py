"""A twin: a real proxy process of the installed code with a data folder of its own, and this process as its gateway.

It opens the stand-ins on loopback that it is given, and nothing else. Folder and process end with it.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorClient
from mycelos.prove.object_walk import Look, ask
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.vault.keys import create_master_key
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule
from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION
from mycelos.wire.operator import StoreCredential
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from mycelos.ledger.entry import Entry

START_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 20.0
SERVICE: Final = "canary"
PROGRAM: Final = "from mycelos.proxy.main import main\nraise SystemExit(main())\n"
"""What the interpreter runs. A test that takes a wall away gives a program of its own."""
_LOUD: Final = """
import logging, sys
logging.Logger.getEffectiveLevel = lambda _logger: logging.DEBUG
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
"""
"""Run before it where a twin is loud: every logger of every library is on, and tracebacks are written."""
_WATCHED: Final = """
import sys
from pathlib import Path
from mycelos.prove.object_walk import serve_beside
serve_beside(Path(sys.argv[sys.argv.index("--data-dir") + 1]) / "walk.sock")
"""
"""Run before it where a twin is watched: it can be asked which of its objects hold a secret."""
_PIECE: Final = 65536


@dataclass(frozen=True)
class Answer:
    """One answer of the proxy; ``body`` is its JSON, or a text where it is none."""

    status: int
    body: Any

    @property
    def code(self) -> str:
        """The problem's code, or empty."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class Twin:
    """A proxy with one credential, ``canary``, bound to ``port`` on loopback.

    ``also_open`` are ``host:port`` that are opened, not bound. ``dns`` is the port on loopback of the name server that
    it asks; without one it asks the system's. What it writes is in ``log``; a ``loud`` one writes all that it can. A
    ``watched`` one can be asked to `look` through its own objects.
    """

    def __init__(
        self,
        port: int,
        also_open: tuple[str, ...] = (),
        *,
        dns: int | None = None,
        loud: bool = False,
        watched: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mycelos-twin-"))
        self.layout = DataLayout(self.folder)
        self.log = self.folder / "twin.log"
        self.canary = f"canary-{secrets.token_urlsafe(24)}"
        self.port = port
        self.bearer = secrets.token_urlsafe(48)
        self._opened = (f"127.0.0.1:{port}", *also_open)
        self._dns = dns
        self._program = (_LOUD if loud else "") + (_WATCHED if watched else "") + PROGRAM
        self._open_control()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the proxy and store the canary.

        Raises:
            CannotShowError: it does not start.
        """
        try:
            create_master_key(self.layout)
            self._start()
            self.operator.store(
                StoreCredential(service=SERVICE, secret=self.canary, bindings=(self.binding(self.port),))
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the proxy and remove its folder."""
        self.close()

    @property
    def operator(self) -> OperatorClient:
        """The operator's door of the twin."""
        return OperatorClient(self.layout)

    @property
    def pid(self) -> int:
        """The proxy's process.

        Raises:
            CannotShowError: it was stopped.
        """
        if self._process is None:
            message = "the twin's proxy was stopped"
            raise CannotShowError(message)
        return self._process.pid

    def binding(self, port: int) -> Binding:
        """Bearer injection into GET below ``/bound`` at 127.0.0.1."""
        return Binding(
            v=1,
            scheme="http",
            host="127.0.0.1",
            port=port,
            methods=(Method.GET,),
            path=("bound",),
            query="any",
            inject=Bearer(),
            response=ResponseRule("drop", "redact"),
            confirm=False,
            quota=None,
        )

    def gateway(self, method: str, path: str, message: Any = None, *, bearer: str | None = None) -> Answer:
        """One request at the gateway's door, over a connection that the proxy hands over, with its bearer."""
        headers = [("Authorization", f"Bearer {bearer or self.bearer}"), ("Content-Type", "application/json")]
        return self._exchange(method, path, headers, None if message is None else json.dumps(message).encode())

    def use(self, url: str, *, with_credential: bool = True, **message: Any) -> Answer:
        """``url`` by `POST /http`, with GET unless ``message``, the rest of the body, says otherwise."""
        named = {"inject_credential": SERVICE} if with_credential else {}
        return self.gateway("POST", "/http", {"method": "GET", "url": url, **named, **message})

    def forward(self, target: str, headers: Sequence[tuple[str, str]] = (), *, method: str = "GET") -> Answer:
        """``target`` as it is, by `/forward`; ``headers`` stand beside the bearer."""
        return self._exchange(method, target, [("Authorization", f"Bearer {self.bearer}"), *headers], None)

    def _exchange(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> Answer:
        connection = http.client.HTTPConnection("mycelos-proxy", timeout=ANSWER_SECONDS)
        connection.sock = self._connect()
        try:
            # By hand: a header may be given twice, and a target in any form.
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            named = {name.lower() for name, _ in headers}
            for name, value in (("Host", "mycelos-proxy"), (PROTOCOL_HEADER, PROTOCOL_VERSION)):
                if name.lower() not in named:
                    connection.putheader(name, value)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"the twin's proxy broke off ({type(error).__name__})"
            raise CannotShowError(message) from None
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(content))
        except ValueError:
            return Answer(response.status, content.decode("utf-8", "replace"))

    def everything(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), message: Any = None
    ) -> bytes:
        """All bytes that the door answers one request with, however they end."""
        body = b"" if message is None else json.dumps(message).encode()
        own = (
            ("Host", "mycelos-proxy"),
            ("Connection", "close"),
            ("Authorization", f"Bearer {self.bearer}"),
            (PROTOCOL_HEADER, PROTOCOL_VERSION),
            ("Content-Length", str(len(body))),
        )
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own, *headers)), "", ""]
        found = b""
        with self._connect() as connection:
            try:
                connection.sendall("\r\n".join(lines).encode("latin-1") + body)
                while piece := connection.recv(_PIECE):
                    found += piece
            except ConnectionError:
                # Cut: what came before is the answer.
                return found
            except OSError as error:
                message = f"the twin's proxy did not end its answer ({type(error).__name__})"
                raise CannotShowError(message) from None
        return found

    def entries(self, after: int = -1) -> list[Entry]:
        """The twin's ledger, from its first entry or from the one after ``after``."""
        with LedgerReader(self.layout.ledger) as reader:
            return reader.after(after, READ_LIMIT)

    def look(self) -> Look:
        """Which objects of the proxy hold the canary in any form, at this moment."""
        try:
            return ask(self.folder / "walk.sock", self.canary, ANSWER_SECONDS)
        except OSError:
            message = "the twin does not look through its own objects"
            raise CannotShowError(message) from None

    def stop(self) -> None:
        """End the proxy, gracefully if it can; its folder stays until `close`."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def restart(self) -> None:
        """End the proxy and start another one on its folder.

        Raises:
            CannotShowError: it does not start.
        """
        self.stop()
        self._control.close()
        self._open_control()
        self._start()

    def close(self) -> None:
        """End everything and remove the folder."""
        self.stop()
        self._control.close()
        self._theirs.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open_control(self) -> None:
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_SECONDS)

    def _start(self) -> None:
        ready, ready_of_proxy = os.pipe2(os.O_CLOEXEC)
        descriptors = (self._theirs.fileno(), ready_of_proxy)
        flags = ("--data-dir", str(self.folder), "--control-fd", str(descriptors[0]), "--ready-fd", str(descriptors[1]))
        environment = {
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "MYCELOS_PROXY_TOKEN": self.bearer,
            "MYCELOS_EGRESS_OPEN": ",".join(self._opened),
        }
        if self._dns is not None:
            environment["MYCELOS_DNS"] = f"127.0.0.1:{self._dns}"
        with os.fdopen(ready, "rb") as stream, self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", self._program, *flags],
                    env=environment,
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            finally:
                os.close(ready_of_proxy)
            self._theirs.close()
            came, _, _ = select.select([stream], [], [], START_SECONDS)
            # A twin's ledger is small: it is never busy for long enough to say so.
            if not came or stream.readline() != b"ready\n":
                message = "a second proxy does not start on this machine; see: mycelos doctor"
                raise CannotShowError(message)

    def _connect(self) -> socket.socket:
        nonce = secrets.token_hex(16)
        try:
            self._control.sendall(msgspec.json.encode(ChannelRequest(v=1, nonce=nonce)))
            data, descriptors, _, _ = socket.recv_fds(self._control, 65536, 4)
            # Python 3.11 drops the flags of recv_fds, and with them close-on-exec.
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
        except OSError:
            message = "the twin's proxy hands over no connection"
            raise CannotShowError(message) from None
        connections = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            answer = msgspec.json.decode(data, type=ChannelAnswer)
            (connection,) = connections
        except (msgspec.DecodeError, ValueError):
            for one in connections:
                one.close()
            message = "the twin's proxy answered with something else than a connection"
            raise CannotShowError(message) from None
        if answer.nonce != nonce:
            connection.close()
            message = "the twin's proxy answered another request"
            raise CannotShowError(message)
        connection.settimeout(ANSWER_SECONDS)
        return connection
