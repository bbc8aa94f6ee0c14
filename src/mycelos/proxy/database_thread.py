"""The one thread on which the vault's database works, and what has the last word in each of its transactions."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class Watcher(Protocol):
    """Settles each transaction: `mycelos.proxy.vault.state`."""

    def settle(self, connection: sa.Connection) -> Any | None:
        """The last word inside the transaction; what it gives is handed to `take` after the commit."""

    def take(self, step: Any) -> None:
        """The transaction is durable."""


class DatabaseThread(ThreadPoolExecutor):
    """Work runs in the context of whoever hands it over: what is announced there is announced on the thread."""

    def __init__(self, name: str) -> None:
        super().__init__(1, thread_name_prefix=name)

    def submit(
        self, function: Callable[Parameters, Result], /, *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Future[Result]:
        """Run ``function`` after everything that was handed over before."""
        return super().submit(partial(contextvars.copy_context().run, function, *arguments, **named))
