"""Turning untrusted bytes into typed messages, with errors that name the field and never the value."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from mycelos.wire.problems import ProblemCode, Refusal

Message = TypeVar("Message")

_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
# The name of an unknown field is the sender's text: it is shown, up to this many characters.
_FIELD_NAME = re.compile(r"(unknown field `.{0,64}).*`", re.DOTALL)
# msgspec quotes a value in this one message only; a value may be a secret typed into a wrong field.
_QUOTED_VALUE = re.compile(r"Invalid (?:enum )?value .*?(?= - at `|$)")


def describe(error: msgspec.DecodeError, name: str) -> str:
    """One sentence on what is wrong with the message called ``name`` and in which field."""
    text = str(error)
    found = _PATH.search(text)
    where = found["path"].replace("$", name, 1) if found else name
    what = _FIELD_NAME.sub(r"\1`", _QUOTED_VALUE.sub("Unknown value", _PATH.sub("", text)))
    if not isinstance(error, msgspec.ValidationError):
        what = "Not valid JSON"
    return f"{what}, in {where}"


def decode_json(data: bytes | str, message_type: type[Message], name: str) -> Message:
    """Decode and validate ``data``.

    Raises:
        Refusal: `invalid_request`; the detail names the field.
    """
    try:
        return msgspec.json.decode(data, type=message_type)
    except msgspec.DecodeError as error:
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            describe(error, name),
            f"Correct {name} and send it again; the fields are listed in docs/reference.",
        ) from None
    except (UnicodeError, RecursionError):
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            f"Not valid UTF-8 JSON, in {name}",
            f"Send {name} as UTF-8 JSON.",
        ) from None
