"""What each test would make anew and which is the same each time: compiled templates, and a client's TLS.

A page compiles its templates when it is made, and a client reads the certificates of the whole world, though it only
talks to loopback. Both took more than the tests themselves.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any, Final

from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of http://localhost. It trusts nobody."""


class _Memory(BytecodeCache):
    """Compiled templates by name and source."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


Templates: Final = partial(Environment, bytecode_cache=_Memory())
"""Jinja's environment, in whose place a test's page takes it."""
