from __future__ import annotations

import threading
from contextvars import ContextVar

from mycelos.proxy.database_thread import DatabaseThread

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


def test_work_runs_on_one_thread_in_the_context_of_whoever_hands_it_over() -> None:
    with DatabaseThread("vault") as thread:
        assert thread.submit(NAME.get).result(20) == "nobody"
        token = NAME.set("somebody")
        waiting = thread.submit(lambda *, suffix: NAME.get() + suffix, suffix="!")
        NAME.reset(token)
        assert waiting.result(20) == "somebody!"
        assert thread.submit(NAME.get).result(20) == "nobody"
        names = {thread.submit(lambda: threading.current_thread().name).result(20) for _ in range(5)}
    assert names == {"vault_0"}
