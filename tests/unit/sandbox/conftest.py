"""Processes that the sandbox's tests start: each in a child, so that no wall ever stands around the tests."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import pytest


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], str]:
    """Run a function in a forked child; give back what it returned as text, `signal N`, or raise what it raised."""

    def run(function: Callable[[], object]) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 50)
            try:
                os.write(50, b"=" + str(function()).encode())
            except BaseException:  # noqa: BLE001
                # The wall may have closed or forbidden much; the text alone gets out.
                os.write(50, b"!" + traceback.format_exc().encode()[-4000:])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            text = stream.read().decode()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        assert text.startswith("="), text
        return text[1:]

    return run
