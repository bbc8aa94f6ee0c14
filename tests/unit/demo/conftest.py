"""The stand-in for the outside as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "token-of-the-stand-in"


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, str]]:
    """The addresses `host:port` of model, api and thief."""
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-m", "mycelos.demo.outside", "--ready-fd", str(writing)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,)) as process:
        os.close(writing)
        assert process.stdin
        process.stdin.write(TOKEN.encode() + b"\n")
        process.stdin.close()
        with os.fdopen(reading, "rb") as stream:
            addresses: dict[str, str] = json.loads(stream.readline())
        yield addresses
        process.terminate()
        process.wait(20)
