"""The fields that say where a credential may go, the same in the form of a new one and in the form that changes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mycelos.operator import forms
from mycelos.operator.forms import FieldError
from mycelos.wire.binding import Binding, Method

INJECTIONS: Final = ("bearer", "header", "basic", "url_path")
METHODS: Final = tuple(Method)
EMPTY_WHERE: Final[Mapping[str, Any]] = {
    "host": "", "path_prefix": "", "inject": "bearer", "inject_name": "", "methods": ["GET"], "confirm": False,
}  # fmt: skip


def kept_where(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, to be shown again."""
    kept = {name: fields[name] for name in EMPTY_WHERE if name in fields}
    return {**EMPTY_WHERE, "methods": [], **kept, "confirm": "confirm" in fields}


def bindings_of(where: Mapping[str, Any]) -> tuple[Binding, ...]:
    """One binding for each host and path prefix.

    Raises:
        FieldError: the first field that cannot be used.
    """
    if where["inject"] not in INJECTIONS:
        raise FieldError(field="inject_as", message="expected one of the forms in the list")
    name = where["inject_name"].strip()
    return forms.build_bindings(
        hosts=where["host"].split(),
        methods=where["methods"],
        path_prefixes=where["path_prefix"].split(),
        inject_as=f"{where['inject']}:{name}" if where["inject"] in {"header", "basic"} else where["inject"],
        confirm=where["confirm"],
    )
