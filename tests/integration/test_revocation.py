"""What the operator takes away is gone at once: for the next request, on a kept connection, and for an open stream."""

from __future__ import annotations

import http.client
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import pytest

from mycelos.prove.twin import SERVICE, Twin
from mycelos.wire.binding import Method
from mycelos.wire.egress import FORWARD_CREDENTIAL, PROTOCOL_HEADER, PROTOCOL_VERSION
from mycelos.wire.operator import AddRule, BindCredential, RemoveRule, RotateCredential

WAIT = 20.0


class Endless(socketserver.StreamRequestHandler):
    """Answers with a stream that does not end: one event, or as many as the other side takes."""

    def handle(self) -> None:
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            self.server.seen.append(line)  # type: ignore[attr-defined]
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"data: one\n\n" if not self.server.floods else bytes(60_000)  # type: ignore[attr-defined]
        try:
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if not self.server.floods:  # type: ignore[attr-defined]
                    # Until the proxy ends the connection.
                    self.rfile.read(1)
                    break
        except OSError:
            pass
        self.server.ended.set()  # type: ignore[attr-defined]


@contextmanager
def upstream(*, floods: bool = False) -> Iterator[Any]:
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    server.floods, server.seen, server.ended = floods, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT)


@contextmanager
def forward(twin: Twin, port: int, *, with_credential: bool = True) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("mycelos-proxy", timeout=WAIT)
    connection.sock = twin._connect()
    headers = {"Authorization": f"Bearer {twin.bearer}", PROTOCOL_HEADER: PROTOCOL_VERSION}
    if with_credential:
        headers[FORWARD_CREDENTIAL] = SERVICE
    # An answer that is cut short must be closed beside its connection.
    with closing(connection.sock), closing(connection):
        connection.request("GET", f"/forward/http/127.0.0.1:{port}/bound/stream", headers=headers)
        with closing(connection.getresponse()) as answer:
            yield answer


def take_away(twin: Twin, what: str, port: int) -> None:
    match what:
        case "credential":
            twin.operator.delete(SERVICE)
        case "secret":
            twin.operator.rotate(RotateCredential(service=SERVICE, secret=f"{twin.canary}-2"))
        case "binding":
            elsewhere = msgspec.structs.replace(twin.binding(port), path=("elsewhere",))
            twin.operator.bind(BindCredential(service=SERVICE, bindings=(elsewhere,)))
        case "lockdown":
            twin.operator.set_lockdown(enabled=True)
        case "rule":
            (rule,) = twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host="127.0.0.1", port=port))
            twin.operator.egress_rules(RemoveRule(id=rule.id))


@pytest.mark.parametrize("what", ["credential", "binding", "rule", "lockdown", "secret"])
def test_an_open_stream_is_cut_and_the_next_request_refused(what: str) -> None:
    with upstream() as outside, Twin(outside.server_address[1]) as twin:
        port = outside.server_address[1]
        if what == "rule":
            twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host="127.0.0.1", port=port))
        with forward(twin, port, with_credential=what != "rule") as answer:
            assert answer.status == 200
            assert answer.read(11) == b"data: one\n\n"
            take_away(twin, what, port)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
        assert outside.ended.wait(WAIT), "the upstream's connection ended"
        # The credential itself still stands after a rotation: outside of its binding it is refused as ever.
        path = "/elsewhere" if what == "secret" else "/bound/stream"
        refused = twin.use(f"http://127.0.0.1:{port}{path}", with_credential=what != "rule")
        assert refused.status == (503 if what == "lockdown" else 403)
        outcome = [entry for entry in twin.entries() if entry.event == "proxy.http_request"][-1]
        assert (outcome.phase, outcome.outcome) == ("outcome", "cut")


def test_a_caller_that_reads_nothing_does_not_keep_the_stream() -> None:
    with (
        upstream(floods=True) as outside,
        Twin(outside.server_address[1]) as twin,
        forward(twin, outside.server_address[1]) as answer,
    ):
        assert answer.status == 200
        take_away(twin, "credential", outside.server_address[1])
        assert outside.ended.wait(WAIT)
        # What was on its way may still be read; then the connection is at its end.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
