"""V5 against real proxy processes: what the probe does not try, since it needs many callers or a killed proxy."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager

from mycelos.ledger.events import Event
from mycelos.prove.twin import Twin
from mycelos.wire.operator import RotateCredential, StoreCredential

ASKED = {"service": "telegram"}


@contextmanager
def twin_with_telegram():
    with Twin(9) as twin:
        twin.operator.store(StoreCredential(service="telegram", secret=twin.canary, template="telegram"))
        yield twin


def test_what_is_armed_is_given_to_one_of_many_that_ask_at_once():
    with twin_with_telegram() as twin:
        connections = [twin._connect() for _ in range(20)]
        head = (
            f"POST /credential/materialize HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {twin.bearer}\r\n"
            "mycelos-protocol: 1\r\ncontent-length: 22\r\nconnection: close\r\n\r\n"
        )
        body = b'{"service":"telegram"}'
        answers = []

        def ask(connection):
            start.wait(30)
            connection.sendall(head.encode() + body)
            answers.append(b"".join(iter(lambda: connection.recv(65536), b"")))
            connection.close()

        start = threading.Barrier(len(connections))
        threads = [threading.Thread(target=ask, args=(connection,)) for connection in connections]
        twin.operator.arm("telegram")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 20
        assert sum(twin.canary.encode() in answer for answer in answers) == 1
        assert sum(b"materialize_denied" in answer for answer in answers) == 19
        twin.stop()
        entries = twin.entries()
        assert sum(entry.event == Event.PROXY_MATERIALIZE_DENIED for entry in entries) == 19
        assert sum(entry.event == Event.PROXY_CREDENTIAL_MATERIALIZED for entry in entries) == 2


def test_a_proxy_that_was_killed_is_armed_no_more():
    with twin_with_telegram() as twin:
        twin.operator.arm("telegram")
        assert twin._process
        os.kill(twin._process.pid, signal.SIGKILL)
        twin._process.wait(30)
        twin.restart()
        answer = twin.gateway("POST", "/credential/materialize", ASKED)
        assert (answer.status, answer.code) == (403, "materialize_denied")
        assert twin.canary not in str(answer.body)


def test_what_was_rotated_after_the_arming_is_not_given_out():
    with twin_with_telegram() as twin:
        twin.operator.arm("telegram")
        twin.operator.rotate(RotateCredential(service="telegram", secret=twin.canary + "-2"))
        answer = twin.gateway("POST", "/credential/materialize", ASKED)
        assert (answer.status, answer.code) == (403, "credential_unknown")
        assert twin.canary not in str(answer.body)
