"""Reading a form: known fields, each once, with the session's token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from mycelos.gateway.identity.csrf import FIELD, check_form_token
from mycelos.gateway.identity.principal import require_principal
from mycelos.wire.problems import ProblemCode, Refusal

Body = TypeVar("Body", bound=BaseModel)
_MEDIA_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request, *fields: str) -> dict[str, str]:
    """The values of ``fields``, all of them present, after the token was checked.

    Raises:
        Refusal: `forbidden`, a wrong token; `invalid_request`, another field, or one absent or twice.
    """
    values = await read_open_form(request, *fields, FIELD)
    check_form_token(require_principal(request.scope), values.pop(FIELD))
    return values


async def read_open_form(request: Request, *fields: str) -> dict[str, str]:
    """The same for the one form that nobody is signed in for yet."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        _refuse(f"The form must be sent as {_MEDIA_TYPE}.")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=16,
        )
    except ValueError:
        _refuse("The form is not well-formed.")
    names = [name for name, _ in pairs]
    for field in fields:
        if names.count(field) != 1:
            _refuse(f"The form's field {field} must be there once.")
    if len(names) != len(fields):
        _refuse("The form has a field that does not belong to it.")
    # Browsers write line ends as CR LF in forms (WHATWG HTML, form submission).
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def as_body(kind: type[Body], values: Mapping[str, object]) -> Body:
    """The form's values as a route's body, by the same rules as the API's."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _refuse(detail: str) -> NoReturn:
    raise Refusal(ProblemCode.INVALID_REQUEST, detail, "Reload the page and send its form again.") from None
