"""The gateway's refusals in the command line's words: options for fields, commands for routes.

The API names what its callers know: fields, routes, `/openapi.json`, the page. A person at a terminal knows none.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mycelos.wire.problems import Problem

_OPTION_OF_FIELD: Final = {
    "name": "NAME",
    "text": "the message",
    "base_url": "--url",
    "capabilities": "--capability",
}
"""Fields whose option has another name; of the rest the field `model` is the option `--model`."""

_FIELD: Final = re.compile(r"\b(?:body|path)\.(?P<field>[a-z_]+)(?:\.[0-9]+)?")
_LISTED: Final = re.compile(r"GET /api/(?P<kind>agent|model)s lists those that exist\.")
_ROUTE: Final = re.compile(r"GET /api/\S+ lists those that exist\.")
_PHRASES: Final = (
    ("/openapi.json gives its form", "--help gives its form"),
    ("Correct the named fields and send the request again; /openapi.json describes them.", "Correct it; see --help."),
    ("Correct the request; /openapi.json lists the fields.", "See --help."),
    ("Reload the page and choose another name.", "Choose another name."),
)


def in_command_words(problem: Problem) -> Problem:
    """The same refusal for a person at a terminal; its code stays."""
    return msgspec.structs.replace(problem, detail=_reword(problem.detail), next=_reword(problem.next))


def _reword(text: str) -> str:
    for said, meant in _PHRASES:
        text = text.replace(said, meant)
    text = _LISTED.sub(r"See those that exist with: mycelos \g<kind> list", text)
    text = _ROUTE.sub("", text)
    return _FIELD.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    field = found["field"]
    return _OPTION_OF_FIELD.get(field, f"--{field.replace('_', '-')}")
