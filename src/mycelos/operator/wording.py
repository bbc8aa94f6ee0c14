"""Bindings in plain words, the same at the vault page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mycelos.wire.binding import Basic, Bearer, Binding, Header

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def address(scheme: str, host: str, port: int) -> str:
    """An origin as people write it: without the port that its scheme has anyway."""
    return f"{scheme}://{host}" if _DEFAULT_PORTS.get(scheme) == port else f"{scheme}://{host}:{port}"


def describe(binding: Binding) -> str:
    """One binding as one or two sentences."""
    methods = join([method.value for method in binding.methods])
    origin = address(binding.scheme, binding.host, binding.port)
    where = f"{origin}/{'/'.join(binding.path)}" if binding.path else f"any path of {origin}"
    below = " and below it" if binding.path else ""
    sentences = [f"{methods} on {where}{below}{_query(binding)}, sent {_injection(binding)}."]
    if binding.scheme == "http":
        sentences.append("Not encrypted on its way.")
    if binding.confirm:
        sentences.append("A person confirms each use.")
    if binding.quota is not None:
        sentences.append(
            f"At most {binding.quota.requests_per_day} requests and {binding.quota.bytes_per_day} bytes a day."
        )
    return " ".join(sentences)


def join(words: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _query(binding: Binding) -> str:
    match binding.query:
        case "any":
            return ""
        case "none":
            return ", without a query"
        case keys:
            return f", with no query but {join(keys)}" if keys else ", without a query"


def _injection(binding: Binding) -> str:
    match binding.inject:
        case Bearer():
            return "as a bearer token"
        case Basic(name=name):
            return f"as the password of the user {name}"
        case Header(name=name):
            return f"in the header {name}"
        case _:
            return "inside the path"
