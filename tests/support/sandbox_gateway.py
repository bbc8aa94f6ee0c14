"""A small gateway: confines itself, then does what the real one does, and answers a request about how it went."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from mycelos.sandbox.confine import confine_gateway

data, listening, control = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
confine_gateway(data, [listening, control])

# Imported behind the walls, as the real one does.
import uvicorn  # noqa: E402
import uvloop  # noqa: E402

found: list[str] = []


def store() -> str:
    database = sqlite3.connect(data / "gateway" / "state" / "store.sqlite")
    (mode,) = database.execute("pragma journal_mode=wal").fetchone()
    database.execute("create table t(a)")
    database.execute("insert into t values (1)")
    database.commit()
    (count,) = database.execute("select count(*) from t").fetchone()
    database.close()
    return f"{mode} {count}"


def receive() -> str:
    with socket.socket(fileno=control) as channel:
        _, descriptors, _, _ = socket.recv_fds(channel, 16, 1)
    with socket.socket(fileno=descriptors[0]) as handed_over:
        handed_over.sendall(b"over a descriptor")
    return "sent"


def late_imports() -> str:
    import anthropic
    import openai

    return f"{openai.__name__} {anthropic.__name__}"


def temporary() -> str:
    with tempfile.NamedTemporaryFile(dir=data / "gateway" / "state") as file:
        return str(file.write(b"x"))


async def application(scope: dict[str, Any], _: Any, send: Any) -> None:
    if scope["type"] != "http":
        message = "no lifespan here"
        raise RuntimeError(message)
    results = [await asyncio.to_thread(step) for step in (store, receive, late_imports, temporary)]
    results.append(str(threading.active_count() > 1))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": "\n".join(results).encode()})


server = uvicorn.Server(uvicorn.Config(application, loop="uvloop", http="httptools", lifespan="off", log_level="error"))
signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
uvloop.run(server.serve(sockets=[socket.socket(fileno=listening)]))
