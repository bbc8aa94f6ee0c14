"""A twin: a real proxy process of the installed code with a data folder of its own, and this process as its gateway.

Its rules open one loopback port, the stand-in's, and nothing else. Folder and process end with it.
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
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.vault.keys import create_master_key
from mycelos.wire.binding import Bearer, Binding, Method, ResponseRule
from mycelos.wire.egress import PROTOCOL_HEADER, PROTOCOL_VERSION
from mycelos.wire.operator import StoreCredential
from mycelos.wire.spawn import ChannelAnswer, ChannelRequest

if TYPE_CHECKING:
    from types import TracebackType

    from mycelos.ledger.entry import Entry

START_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 20.0
SERVICE: Final = "canary"
PROGRAM: Final = ("-I", "-m", "mycelos.proxy")
"""What the interpreter runs. A test that takes a wall away gives a program of its own."""


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
    """A proxy with one credential, ``canary``, bound to ``port`` on loopback; ``also_open`` are opened, not bound."""

    def __init__(self, port: int, also_open: tuple[int, ...] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mycelos-twin-"))
        self.layout = DataLayout(self.folder)
        self.canary = f"canary-{secrets.token_urlsafe(24)}"
        self.port = port
        self._opened = (port, *also_open)
        self._bearer = secrets.token_urlsafe(48)
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_SECONDS)
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
        connection = http.client.HTTPConnection("mycelos-proxy", timeout=ANSWER_SECONDS)
        connection.sock = self._connect()
        headers = {"Authorization": f"Bearer {bearer or self._bearer}", PROTOCOL_HEADER: PROTOCOL_VERSION}
        body = None if message is None else json.dumps(message).encode()
        try:
            connection.request(method, path, body, headers | {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            message_ = f"the twin's proxy broke off ({type(error).__name__})"
            raise CannotShowError(message_) from None
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(content))
        except ValueError:
            return Answer(response.status, content.decode("utf-8", "replace"))

    def use(self, url: str, *, with_credential: bool = True) -> Answer:
        """GET ``url`` by `POST /http`."""
        message = {"method": "GET", "url": url}
        return self.gateway("POST", "/http", message | ({"inject_credential": SERVICE} if with_credential else {}))

    def entries(self) -> list[Entry]:
        """The twin's ledger, from its first entry."""
        with LedgerReader(self.layout.ledger) as reader:
            return reader.after(-1, READ_LIMIT)

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

    def close(self) -> None:
        """End everything and remove the folder."""
        self.stop()
        self._control.close()
        self._theirs.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        ready, ready_of_proxy = os.pipe2(os.O_CLOEXEC)
        descriptors = (self._theirs.fileno(), ready_of_proxy)
        flags = ("--data-dir", str(self.folder), "--control-fd", str(descriptors[0]), "--ready-fd", str(descriptors[1]))
        environment = {
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "MYCELOS_PROXY_TOKEN": self._bearer,
            "MYCELOS_EGRESS_OPEN": ",".join(f"127.0.0.1:{port}" for port in self._opened),
        }
        with os.fdopen(ready, "rb") as stream:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *PROGRAM, *flags],
                    env=environment,
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            finally:
                os.close(ready_of_proxy)
            self._theirs.close()
            came, _, _ = select.select([stream], [], [], START_SECONDS)
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
