"""Each error of the gateway as an RFC 9457 problem document, with no value of the request echoed."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from mycelos.policy.capabilities import NameRefusedError
from mycelos.wire.problems import MEDIA_TYPE, REFUSED_HEADER, Problem, ProblemCode, Refusal, make_problem

_CODE_OF_STATUS: Final[Mapping[int, tuple[ProblemCode, str, str]]] = {
    400: (
        ProblemCode.INVALID_REQUEST,
        "The request is malformed.",
        "Correct the request; /openapi.json lists the fields.",
    ),
    401: (ProblemCode.UNAUTHORIZED, "Nobody is signed in.", "Sign in with the link that `mycelos open` prints."),
    403: (ProblemCode.FORBIDDEN, "This is not allowed.", "Sign in as the owner of this installation."),
    404: (
        ProblemCode.NOT_FOUND,
        "There is nothing at this address.",
        "Check the address; /openapi.json lists the routes.",
    ),
    405: (
        ProblemCode.METHOD_NOT_ALLOWED,
        "This address does not take this method.",
        "See /openapi.json for the methods.",
    ),
    413: (ProblemCode.TOO_LARGE, "The request is too large.", "Send less at once."),
    415: (ProblemCode.INVALID_REQUEST, "The body's media type is not understood.", "Send application/json."),
}

_FIX: Final[Mapping[str, str]] = {
    "extra_forbidden": "is not a field of this request; remove it",
    "missing": "is required; add it",
    "json_invalid": "is not valid JSON; correct it",
    "string_too_short": "is too short; lengthen it",
    "string_type": "must be a string",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "model_attributes_type": "must be a JSON object sent as application/json",
    "dict_type": "must be a JSON object sent as application/json",
}

_BOUND: Final[Mapping[str, str]] = {"ge": "at least", "le": "at most"}


class FieldError(ValueError):
    """A field of a body breaks a rule of ours; the text is the rule, without the value."""


def wants_page(scope: Scope) -> bool:
    """Whether a person's browser is asking for a page, so that an error should be one too."""
    if scope["type"] != "http" or str(scope["path"]).startswith(("/api/", "/openapi.json")):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def problem_response(problem: Problem, *, as_page: bool = False, headers: Mapping[str, str] | None = None) -> Response:
    """The document, or the same words as a small page for a browser."""
    merged = {REFUSED_HEADER: problem.code.value, **(headers or {})}
    if as_page:
        return HTMLResponse(_page(problem), problem.status, merged)
    return Response(msgspec.json.encode(problem), problem.status, merged, MEDIA_TYPE)


async def send_refusal(
    refusal: Refusal, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request with ``refusal`` from within a middleware."""
    response = problem_response(refusal.problem, as_page=wants_page(scope), headers=headers)
    await response(scope, receive, send)


def install_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every error with a problem document."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def describe_validation(error: RequestValidationError) -> str:
    """One sentence a field, at most five, from the field's name and the kind of fault: never its value."""
    sentences: list[str] = []
    for entry in error.errors()[:5]:
        # A name that the caller made up is the caller's text: only plain names are repeated.
        parts = [str(part) for part in entry["loc"] if entry["type"] != "json_invalid" or isinstance(part, str)]
        name = ".".join(part if part.replace("_", "").isalnum() and len(part) <= 64 else "(field)" for part in parts)
        sentences.append(f"{name or 'body'} {_fault(entry)}")
    return ". ".join(sentences)


def _fault(entry: Mapping[str, Any]) -> str:
    """What is wrong with one field. Rules come from the schema and texts from our own checks, never from the value."""
    context = entry.get("ctx", {})
    match entry["type"]:
        case "value_error" if isinstance(error := context.get("error"), NameRefusedError | FieldError):
            return f"cannot be used: {error}"
        case "string_pattern_mismatch" if "pattern" in context:
            return f"must have the form {context['pattern']}"
        case "string_too_long" | "too_long" if "max_length" in context:
            return f"is too long; {context['max_length']} at most"
        case "literal_error" | "enum" if "expected" in context:
            return f"must be {context['expected']}"
        case "greater_than_equal" | "less_than_equal":
            return f"must be {' '.join(f'{_BOUND[key]} {value}' for key, value in context.items() if key in _BOUND)}"
        case kind:
            return _FIX.get(kind, "cannot be used; /openapi.json gives its form")


async def _on_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return problem_response(error.problem, as_page=wants_page(request.scope))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problem = make_problem(
        ProblemCode.INVALID_REQUEST,
        describe_validation(error),
        "Correct the named fields and send the request again; /openapi.json describes them.",
    )
    return problem_response(problem, as_page=wants_page(request.scope))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, detail, next_step = _CODE_OF_STATUS.get(error.status_code, _CODE_OF_STATUS[400])
    return problem_response(
        make_problem(code, detail, next_step), as_page=wants_page(request.scope), headers=error.headers
    )


def _page(problem: Problem) -> str:
    title, detail, next_step = (html.escape(text) for text in (problem.title, problem.detail, problem.next))
    status = HTTPStatus(problem.status)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title} · Mycelos</title>"
        "<link rel=stylesheet href=/static/app.css><link rel=icon href=/static/icon.svg>"
        f"<main class='plain'><p class=eyebrow>{status.value} · {html.escape(problem.code.value)}</p><h1>{title}</h1>"
        f"<p>{detail}</p><p class=next>{next_step}</p><p><a href=/>Back to Mycelos</a></p></main></html>"
    )
