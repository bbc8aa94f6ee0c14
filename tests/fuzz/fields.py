"""How one input of a fuzzer becomes several values: fields behind a separator that neither text nor headers hold."""

from __future__ import annotations

SEPARATOR = b"\xff\xff"


def fields(data: bytes, count: int) -> list[bytes]:
    """The first ``count`` fields, empty where there are fewer; the last one keeps all the rest."""
    found = data.split(SEPARATOR, count - 1)
    return found + [b""] * (count - len(found))


def join(*values: bytes) -> bytes:
    """A seed out of its fields."""
    return SEPARATOR.join(values)
