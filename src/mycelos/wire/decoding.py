"""Turning untrusted bytes into typed messages, with errors that name the field and never the value."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.unique_names import RepeatedNameError, demand_unique_names

Message = TypeVar("Message")

_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]{1,64})`")
# The name of an unknown field is the sender's text: it is shown, up to this many characters.
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.{0,64})", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>[a-z| ]+)`, got `(?P<given>[a-z]+)`")
_BOUND = re.compile(r"Expected `(?P<wanted>[a-z| ]+)` (?P<bound>of length |)(?P<sign>[<>]=?) (?P<number>[0-9.eE+-]+)")
_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "text",
}


def describe(error: msgspec.DecodeError, name: str) -> str:
    """One sentence of ours on what is wrong with the message called ``name`` and in which field; never a value."""
    text = str(error)
    found = _PATH.search(text)
    where = found["path"].replace("$", name, 1) if found else name
    if not isinstance(error, msgspec.ValidationError):
        return f"Not valid JSON, in {where}"
    if isinstance(error.__cause__, ValueError | TypeError):
        # A type of ours refused it, in words of ours.
        return f"{error.__cause__}, in {where}"
    return f"{_in_our_words(text)}, in {where}"


def _in_our_words(text: str) -> str:
    if found := _MISSING.match(text):
        return f"The field `{found['field']}` is missing"
    if found := _UNKNOWN.match(text):
        return f"There is no field `{found['field'].partition('`')[0]}`"
    if found := _WRONG_TYPE.match(text):
        return f"Expected {_named(found['wanted'])}, not {_named(found['given'])}"
    if found := _BOUND.match(text):
        size = "a length" if found["bound"] else "a value"
        return f"Expected {_named(found['wanted'])} with {size} {found['sign']} {found['number']}"
    return "Expected one of the values that this field can have"


def _named(types: str) -> str:
    return " or ".join(_TYPES.get(name.strip(), "another value") for name in types.split("|"))


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
            f"Correct {name} and send it again.",
        ) from None
    except (UnicodeError, RecursionError):
        raise Refusal(
            ProblemCode.INVALID_REQUEST,
            f"Not valid UTF-8 JSON, in {name}",
            f"Send {name} as UTF-8 JSON.",
        ) from None


def decode_request(data: bytes, message_type: type[Message], name: str) -> Message:
    """`decode_json` of what somebody asks for, in which no object may have one name twice.

    Readers differ on which of the two counts (RFC 8259, section 4): what was asked must be what was decided on.

    Raises:
        Refusal: `invalid_request`; the detail names the field.
    """
    message = decode_json(data, message_type, name)
    try:
        demand_unique_names(data)
    except RepeatedNameError as error:
        what = str(error)
    except RecursionError:
        what = "Nested too deep"
    except ValueError:
        what = "Not valid UTF-8 JSON"
    else:
        return message
    raise Refusal(
        ProblemCode.INVALID_REQUEST,
        f"{what}, in {name}",
        f"Correct {name} and send it again.",
    )
