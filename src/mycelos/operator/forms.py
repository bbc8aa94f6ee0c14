"""From what a person writes (a host, methods, a path, a way to inject) to bindings; each error names its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from mycelos.wire.binding import (
    Basic,
    Bearer,
    Binding,
    Header,
    Injection,
    Method,
    Quota,
    ResponseRule,
    UrlPath,
)
from mycelos.wire.egress import CREDENTIAL_PLACEHOLDER

_HOST: Final = re.compile(r"(?:(?P<scheme>https?)://)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?/?\Z")
_FIELDS: Final = {"host": "host", "methods": "methods", "path": "path_prefix", "inject.name": "inject_as"}
DEFAULT_METHODS: Final = (Method.GET,)


class FieldError(ValueError):
    """One field cannot be used. ``field`` is its name in the form; the text never quotes a secret."""

    def __init__(self, *, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def checked(field: str, check: Callable[[str], None], value: str) -> str:
    """``value``, which ``check`` lets through.

    Raises:
        FieldError: it does not.
    """
    try:
        check(value)
    except ValueError as error:
        raise FieldError(field=field, message=str(error).removeprefix(f"{field}: ")) from None
    return value


def parse_host(text: str, field: str = "host") -> tuple[Literal["https", "http"], str, int]:
    """Scheme, host and port of ``host[:port]`` (https) or ``http://host:port``.

    Raises:
        FieldError: anything more, a wildcard, or letters that are not ASCII.
    """
    found = _HOST.match(text.strip())
    if not found:
        message = (
            "expected host, host:port or http://host:port, in ASCII, without path, query or wildcard; "
            "a path belongs in the path prefix"
        )
        raise FieldError(field=field, message=message)
    scheme: Literal["https", "http"] = "http" if found["scheme"] == "http" else "https"
    if scheme == "http" and found["port"] is None:
        raise FieldError(
            field=field, message="expected a port after an http:// host, which must be opened by MYCELOS_EGRESS_OPEN"
        )
    port = int(found["port"] or 443)
    if not 1 <= port <= 65535:
        raise FieldError(field=field, message="expected a port from 1 to 65535")
    return scheme, found["host"].lower(), port


def parse_methods(texts: Sequence[str]) -> tuple[Method, ...]:
    """HTTP methods, each once, in order; reading (GET) where none is named.

    Raises:
        FieldError: one that is not known.
    """
    methods: dict[Method, None] = {}
    for text in texts:
        try:
            methods[Method(text.strip().upper())] = None
        except ValueError:
            raise FieldError(field="methods", message=f"expected some of {', '.join(Method)}") from None
    return tuple(methods) or DEFAULT_METHODS


def parse_injection(text: str) -> Injection:
    """How the secret is put into a request: ``bearer``, ``header:NAME``, ``basic:USER`` or ``url_path``.

    Raises:
        FieldError: another form.
    """
    form, _, name = text.strip().partition(":")
    match form, bool(name):
        case "bearer", False:
            return Bearer()
        case "header", True:
            return Header(name=name)
        case "basic", True:
            return Basic(name=name)
        case "url_path", False:
            return UrlPath()
        case _:
            raise FieldError(field="inject_as", message="expected bearer, header:NAME, basic:USER or url_path")


def build_bindings(
    *,
    hosts: Sequence[str],
    methods: Sequence[str] = (),
    path_prefixes: Sequence[str] = (),
    inject_as: str = "bearer",
    confirm: bool = False,
    quota: Quota | None = None,
) -> tuple[Binding, ...]:
    """One binding for each host and path prefix.

    Raises:
        FieldError: the first field that cannot be used.
    """
    if not hosts:
        raise FieldError(field="host", message="expected at least one host")
    inject = parse_injection(inject_as)
    parsed_methods = parse_methods(methods)
    bindings: dict[Binding, None] = {}
    for scheme, host, port in map(parse_host, hosts):
        for path in map(_parse_path, path_prefixes or ("/",)):
            if isinstance(inject, UrlPath) and not any(CREDENTIAL_PLACEHOLDER in segment for segment in path):
                raise FieldError(
                    field="path_prefix", message=f"expected {CREDENTIAL_PLACEHOLDER} in it, where the secret goes"
                )
            try:
                binding = Binding(
                    v=1,
                    scheme=scheme,
                    host=host,
                    port=port,
                    methods=parsed_methods,
                    path=path,
                    query="any",
                    inject=inject,
                    response=ResponseRule(set_cookie="drop", location_query="redact"),
                    confirm=confirm,
                    quota=quota,
                )
            except ValueError as error:
                field, _, expected = str(error).removeprefix("binding field ").partition(": ")
                raise FieldError(field=_FIELDS.get(field, field), message=expected) from None
            bindings[binding] = None
    return tuple(bindings)


def _parse_path(text: str) -> tuple[str, ...]:
    stripped = text.strip().strip("/")
    return tuple(stripped.split("/")) if stripped else ()
