"""What a browser posts: the fields of a form, whose form it was, and which button was pressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from mycelos.operator.sessions import Session

_FIELDS_LIMIT: Final = 64


async def read_form(
    request: Request, single: set[str], repeated: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """The fields of a form: texts, and lists of texts for ``repeated``. Unknown and doubled fields are refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_LIMIT,
        )
    except ValueError:
        raise HTTPException(400) from None
    fields: dict[str, Any] = {name: [] for name in repeated}
    for name, value in pairs:
        if name in repeated:
            fields[name].append(value)
        elif name in fields or name not in single | {"form_token"}:
            raise HTTPException(400)
        else:
            fields[name] = value
    return fields


def demand_own_form(fields: Mapping[str, Any], session: Session) -> None:
    """Refuse a form that was not made for this session."""
    if not session.accepts(str(fields.get("form_token", ""))):
        raise HTTPException(403)


def read_choice(fields: Mapping[str, Any]) -> bool:
    """What was pressed: a button says yes or no, and nothing else is one."""
    match fields.get("enabled"):
        case "yes":
            return True
        case "no":
            return False
        case _:
            raise HTTPException(400)
