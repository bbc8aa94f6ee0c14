"""A proxy process that listens on TCP, as containers and SDKs find it, and a wire tap in front of it."""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.entry import Entry
from mycelos.operator.client import OperatorClient
from mycelos.proxy.ledger.reader import READ_LIMIT, LedgerReader
from mycelos.proxy.vault.keys import create_master_key

PATIENCE_SECONDS = 30.0
PROGRAM = ("-I", "-m", "mycelos.proxy")


@dataclass(frozen=True)
class ListeningProxy:
    """``token`` is the gateway's bearer; ``output`` holds what the process has printed."""

    layout: DataLayout
    authority: str
    token: str
    output: Path
    pid: int

    @property
    def operator(self) -> OperatorClient:
        return OperatorClient(self.layout)

    def entries(self, after: int = -1) -> list[Entry]:
        with LedgerReader(self.layout.ledger) as reader:
            return reader.after(after, READ_LIMIT)


def free_port() -> int:
    """A loopback port which nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def listening_proxy(
    folder: Path, opened: Sequence[str], ca_file: Path | None = None, program: Sequence[str] = PROGRAM
) -> Iterator[ListeningProxy]:
    """The proxy of an empty data folder, listening on 127.0.0.1."""
    layout = DataLayout(folder)
    create_master_key(layout)
    token = secrets.token_urlsafe(48)
    authority = f"127.0.0.1:{free_port()}"
    environment = {
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "MYCELOS_PROXY_TOKEN": token,
        "MYCELOS_EGRESS_OPEN": ",".join(opened),
    }
    if ca_file is not None:
        environment["MYCELOS_CA_FILE"] = str(ca_file)
    output = folder.parent / "proxy-output"
    ready, theirs = os.pipe2(os.O_CLOEXEC)
    flags = ("--data-dir", str(folder), "--listen", authority, "--ready-fd", str(theirs))
    with os.fdopen(ready, "rb") as stream, output.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, *program, *flags],
            env=environment,
            pass_fds=(theirs,),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        os.close(theirs)
        try:
            came, _, _ = select.select([stream], [], [], PATIENCE_SECONDS)
            assert came, output.read_text()
            assert stream.readline() == b"ready\n", output.read_text()
            yield ListeningProxy(layout, authority, token, output, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class WireTap:
    """Passes connections on and keeps every byte, both ways: all that a client behind it has received is here."""

    authority: str = ""
    to_client: bytearray = field(default_factory=bytearray)
    from_client: bytearray = field(default_factory=bytearray)


@contextmanager
def wire_tap(target: str) -> Iterator[WireTap]:
    """Listens on 127.0.0.1 and connects to ``target``."""
    host, _, port = target.rpartition(":")
    tap = WireTap()
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while data := source.recv(65536):
                kept.extend(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection((host, int(port)), PATIENCE_SECONDS)
            server.settimeout(None)
            sockets.extend((client, server))
            for source, sink, kept in ((client, server, tap.from_client), (server, client, tap.to_client)):
                threads.append(threading.Thread(target=pump, args=(source, sink, kept), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap.authority = f"127.0.0.1:{listener.getsockname()[1]}"
        accepting = threading.Thread(target=accept, args=(listener,), daemon=True)
        accepting.start()
        try:
            yield tap
        finally:
            # A close alone would not wake the thread that waits in accept.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(PATIENCE_SECONDS)
            for one in sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
            for one in sockets:
                one.close()
