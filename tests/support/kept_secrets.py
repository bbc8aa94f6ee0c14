"""Programs that keep a secret somewhere, each walked through before and after: the walk's tests, as one process.

A walk looks at every object of its process. In the process of the tests these are all tests; here it is a moment.
``python kept_secrets.py`` prints what each case says as JSON: the kinds of holders before and after.
"""

from __future__ import annotations

import io
import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

from ahocorasick_rs import BytesAhoCorasick

from mycelos.prove import object_walk
from mycelos.wire.secret_forms import secret_forms

WAIT = 20.0


def in_a_coroutine(secret: bytes) -> Any:
    async def holding() -> bytes:
        mine = secret
        await waiting()
        return mine

    class waiting:  # noqa: N801
        def __await__(self) -> Any:
            yield

    coroutine = holding()
    coroutine.send(None)
    return coroutine


def in_a_traceback(secret: bytes) -> Any:
    def fail() -> None:
        mine = secret
        raise ValueError(len(mine))

    try:
        fail()
    except ValueError as error:
        return error


def nowhere(_secret: bytes) -> Any:
    released = memoryview(b"x")
    released.release()
    closed = io.BytesIO(b"x")
    closed.close()
    return released, closed


KEPT: dict[str, Callable[[bytes], Any]] = {
    "list": lambda secret: [secret],
    "text": lambda secret: {"a": (secret.decode(), 1)},
    "bytearray": lambda secret: [bytearray(b"x" + secret)],
    "view": lambda secret: [memoryview(b"x" + secret)],
    "stream": lambda secret: [io.BytesIO(secret)],
    "text stream": lambda secret: [io.StringIO(secret.decode())],
    "closure": lambda secret: lambda: secret,
    "form": lambda secret: [secret.hex()],
    "log record": lambda secret: [logging.LogRecord("x", 1, "x", 1, "sent %s", (secret,), None)],
    "coroutine": in_a_coroutine,
    "traceback": in_a_traceback,
}


def forms(seed: str) -> Any:
    return secret_forms(f"{seed[::-1]}-secret".encode())


def found(keep: Callable[[bytes], Any]) -> list[Any]:
    """What the walk finds of a secret before ``keep`` has put it somewhere, and after."""
    # Never a local variable while the walk looks: each is made of this again.
    seed = secrets.token_hex(8)
    before = object_walk.look(forms(seed)).holders
    kept = keep(f"{seed[::-1]}-secret".encode())
    after = object_walk.look(forms(seed)).holders
    del kept
    return [before, after]


def in_another_thread() -> list[Any]:
    """While a thread has it in a local variable, and when the thread has ended."""
    seed, ready, over = secrets.token_hex(8), threading.Event(), threading.Event()

    def hold() -> str:
        mine = f"{seed[::-1]}-secret"
        ready.set()
        over.wait(WAIT)
        return mine

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(WAIT)
    during = object_walk.look(forms(seed)).holders
    over.set()
    thread.join(WAIT)
    return [during, object_walk.look(forms(seed)).holders]


def matchers() -> list[int]:
    """How many there are more while one lives, and when it is gone."""

    def count() -> int:
        return object_walk.look([b"nowhere-at-all" * 2]).matchers

    before = count()
    kept = [BytesAhoCorasick([b"abcd"])]
    during = count()
    kept.clear()
    return [during - before, count() - before]


def over_a_connection(said: str) -> str:
    """What is answered to who says this."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(said.encode())
        ours.shutdown(socket.SHUT_WR)
        object_walk.answer(theirs)
        theirs.shutdown(socket.SHUT_WR)
        return ours.recv(65536).decode()


def main() -> None:
    told: dict[str, Any] = {name: found(keep) for name, keep in KEPT.items()}
    told |= {"nowhere": found(nowhere), "thread": in_another_thread(), "matchers": matchers()}
    kept = ["over-the-socket-it-is-found"]
    told["connection"] = [over_a_connection(kept[0]), over_a_connection("")]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
